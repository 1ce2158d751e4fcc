"""Suite files that are wrong."""

# ruff: noqa: E501 - one case a line

from .cases import Accepted, Case
from .making import SUITE, Make, both, empty, linked, pipe, suite, text

AREA = "suites"
FILE = "suite.toml"


def _wrong(
    id_: str,
    old: str,
    new: str,
    names: str | tuple[str, ...],
    remedy: str | tuple[str, ...],
    more: str = "",
    words: tuple[str, ...] = (),
) -> Case:
    """A suite with one text in place of another."""
    return _case(id_, suite(old, new, more), names, remedy, words)


def _case(
    id_: str,
    make: Make,
    names: str | tuple[str, ...],
    remedy: str | tuple[str, ...],
    words: tuple[str, ...] = (),
    denied: tuple[str, ...] = (),
) -> Case:
    named = (names,) if isinstance(names, str) else names
    mended = (remedy,) if isinstance(remedy, str) else remedy
    return Case(id_, AREA, ("run", FILE, *words), (FILE, *named), mended, make, denied=denied)


def _set(id_: str, change: str, names: str, remedy: str) -> Case:
    named = ("--set", *names.split())
    return Case(id_, AREA, ("run", FILE, "--set", change), named, (remedy,), suite())


BACKBONE = '[[backbones]]\nname = "Mine"\nfile = "mine.keras"\npreprocessing = "raw"\n'

_FILES = (
    _case("missing", text("suit.toml", SUITE), "expected a file", "did you mean suit.toml?"),
    _case("missing-and-no-other", empty(), "expected a file", "no .toml file lies in that folder"),
    _case("folder", empty("suite.toml"), FILE, "expected a results folder"),
    _case(
        "no-permission", suite(), "Permission denied", "a file that you may read", denied=(FILE,)
    ),
    _case("link-to-itself", linked(FILE, FILE), FILE, "a file that can be read"),
    _case("not-utf-8", text(FILE, b"description = '\xff\xfe'"), FILE, "UTF-8"),
    _case("utf-16", text(FILE, SUITE.encode("utf-16")), FILE, "UTF-8"),
    _case("binary", text(FILE, bytes(range(256))), FILE, "UTF-8"),
    _case("empty", text(FILE, ""), "description is missing", "a text in quotes"),
    _case("json", text(FILE, '{"description": "no"}'), FILE, "valid TOML"),
    _case("yaml", text(FILE, "description: no\n"), FILE, ("valid TOML", "line 1")),
    _case("unclosed", text(FILE, SUITE + "[data"), FILE, ("valid TOML", "twice")),
    _case("key-twice", text(FILE, SUITE + "[phase1]\nepochs = 2\n"), FILE, "valid TOML"),
    _case("nested-too-deeply", text(FILE, "a = " + "[" * 5000), FILE, "nested"),
    _case("nested-deeply-but-whole", text(FILE, "a = " + "[" * 400 + "]" * 400), FILE, "nested"),
    _case(
        "number-too-long", text(FILE, f"a = {'9' * 5000}"), FILE, "numbers that fit into 64 bits"
    ),
    Case(
        "endless-pipe",
        AREA,
        ("run", "pipe.toml"),
        ("pipe.toml",),
        ("regular file",),
        make=pipe("pipe.toml"),
    ),
)

_KEYS = (
    _wrong("unknown-key", "image_size = 96", "image_szie = 96", "data.image_szie = 96", "did you mean image_size?"),
    _wrong("unknown-table", "[execution]", "[exeuction]", "exeuction", "did you mean execution"),
    _wrong("unknown-key-nothing-near", "image_size = 96", "qqq = 1", "data.qqq", "known: augmentation"),
    _wrong("key-of-another-table", "trial_minutes = 10", "epochs = 10", "limits.epochs", "trial_minutes"),
    _wrong("missing-key", "learning_rate = 1e-3\n", "", "phase1.learning_rate is missing", "a number"),
    _wrong("missing-table", "[phase2]\nepochs = 1\nlearning_rate = 1e-5\n", "", "phase2 is missing", "[phase2] with epochs, learning_rate"),
    _wrong("unknown-key-in-matrix", "heads =", "head =", "matrix[0].head", "did you mean heads?"),
    _wrong("unknown-key-in-claim", "", "", "claims[0].sauce", "did you mean source?",
           '[[claims]]\ntext = "x"\nquantity = "accuracy"\nlow = 0.9\nhigh = 1.0\nsauce = "y"\n'),
)  # fmt: skip

_TYPES = (
    _wrong("text-for-number", "epochs = 1\nlearning_rate = 1e-3", 'epochs = "1"\nlearning_rate = 1e-3', ("phase1.epochs", "'1'"), "a whole number"),
    _wrong("true-for-number", "batch_size = 32", "batch_size = true", ("execution.batch_size", "True"), "a whole number"),
    _wrong("half-epoch", "epochs = 1\nlearning_rate = 1e-3", "epochs = 1.5\nlearning_rate = 1e-3", ("phase1.epochs", "1.5"), "a whole number"),
    _wrong("list-for-table", "[data]\nimage_size = 96", "data = [1]", "data = [1]", "a table"),
    _wrong("text-for-list", 'datasets = ["digits"]', 'datasets = "digits"', "matrix[0].datasets", "a list"),
    _wrong("number-in-list", 'datasets = ["digits"]', "datasets = [3]", "matrix[0].datasets[0]", "a text in quotes"),
    _wrong("date", "image_size = 96", "image_size = 2024-01-01", ("data.image_size", "2024-01-01"), "a whole number"),
    _wrong("table-for-number", "image_size = 96", "image_size = {x = 1}", "data.image_size", "a whole number"),
    _case("smoke-no-table", text(FILE, "smoke = 1\n" + SUITE[: SUITE.index("[smoke]")]), "smoke = 1", "a table of overrides"),
)  # fmt: skip

_NUMBERS = (
    _wrong("nan-rate", "learning_rate = 1e-3", "learning_rate = nan", "phase1.learning_rate = nan", "a finite number"),
    _wrong("inf-rate", "learning_rate = 1e-3", "learning_rate = inf", "phase1.learning_rate = inf", "a finite number"),
    _wrong("negative-rate", "learning_rate = 1e-3", "learning_rate = -1e-3", "phase1.learning_rate = -0.001", "greater than 0"),
    _wrong("zero-epochs", "epochs = 1\nlearning_rate = 1e-3", "epochs = 0\nlearning_rate = 1e-3", "phase1.epochs = 0", "greater than or equal to 1"),
    _wrong("huge-epochs", "epochs = 1\nlearning_rate = 1e-3", f"epochs = {10**30}\nlearning_rate = 1e-3", "phase1.epochs", "fit into 64 bits"),
    _wrong("huge-image", "image_size = 96", "image_size = 100000", "data.image_size = 100000", "less than or equal to 2048"),
    _wrong("small-image", "image_size = 96", "image_size = 16", "data.image_size = 16", "at least 32 for MobileNetV2"),
    _wrong("huge-batch", "batch_size = 32", f"batch_size = {2**63}", "execution.batch_size", "fit into 64 bits"),
    _wrong("negative-seed", "seeds = [0, 1]", "seeds = [-1]", "matrix[0].seeds[0] = -1", "greater than or equal to 0"),
    _wrong("seed-too-large", "seeds = [0, 1]", "seeds = [4294967296]", "seeds[0] = 4294967296", "less than or equal to 4294967295"),
    _wrong("nan-minutes", "trial_minutes = 10", "trial_minutes = nan", "limits.trial_minutes = nan", "a finite number"),
    _wrong("huge-minutes", "trial_minutes = 10", "trial_minutes = 1e300", "limits.trial_minutes = 1e+300", "less than"),
    _wrong("splits-do-not-add-up", "image_size = 96", "image_size = 96\nsplits = {train = 0.8, val = 0.2, test = 0.2}", "data.splits", "add up to 1"),
    _wrong("split-negative", "image_size = 96", "image_size = 96\nsplits = {train = 1.2, val = -0.1, test = -0.1}", "data.splits.train", "less than 1"),
    _wrong("split-nan", "image_size = 96", "image_size = 96\nsplits = {train = nan, val = 0.1, test = 0.1}", "data.splits.train", "a finite number"),
    _wrong("two-ways-to-subset", "image_size = 96", "image_size = 96\ntrain_examples = 10\ntrain_per_class = 2", "data", "either train_examples or train_per_class"),
    _wrong("activations-nan", "trial_minutes = 10", "activations_gib = nan", "limits.activations_gib = nan", "a finite number"),
)  # fmt: skip

_NAMES = (
    _wrong("unknown-backbone", '"MobileNetV2"', '"MobileNetV4"', ("matrix[0].backbones[0]", "'MobileNetV4'"), "did you mean MobileNetV2"),
    _wrong("unknown-dataset", '["digits"]', '["digit"]', "matrix[0].datasets[0] = 'digit'", "did you mean digits?"),
    _wrong("unknown-head", '["linear"]', '["liner"]', "matrix[0].heads[0] = 'liner'", "did you mean linear?"),
    _wrong("unknown-freeze", '"all"]', '"everything"]', "matrix[0].freezes[1] = 'everything'", "a freeze strategy that exists"),
    _wrong("unknown-optimizer", "[phase2]", 'optimizer = "adamm"\n[phase2]', "phase1.optimizer = 'adamm'", "did you mean adam"),
    _wrong("unknown-backend", "batch_size = 32", 'backend = "pytorch"', "execution.backend = 'pytorch'", "one of tensorflow, jax, torch"),
    _wrong("unknown-precision", "batch_size = 32", 'precision = "float16"', "execution.precision = 'float16'", "mixed_float16"),
    _wrong("unknown-trap", "seeds = [0, 1]", 'seeds = [0]\ntraps = ["no_phase"]', "matrix[0].traps[0] = 'no_phase'", "did you mean no_phase1?"),
    _wrong("unknown-augmentation", "image_size = 96", 'augmentation = [{flop = "horizontal"}]', "data.augmentation[0]", "did you mean flip?"),
    _wrong("augmentation-amount", "image_size = 96", 'augmentation = [{flip = "sideways"}]', "data.augmentation[0]", "horizontal"),
    _wrong("freeze-amount", '"all"]', "{top_blocks = -1}]", "matrix[0].freezes[1]", "top_blocks"),
    _wrong("freeze-two-keys", '"all"]', "{top_blocks = 1, last_layers = 2}]", "matrix[0].freezes[1]", "a table of one key"),
    _wrong("weights-of-no-kind", "seeds = [0, 1]", 'seeds = [0]\nweights = "imagenet21k"', "matrix[0].weights = 'imagenet21k'", "the path of a file of weights that ends in .h5 or .hdf5"),
    _wrong("blocks-no-expression", "", "", "backbones[0].blocks", "a regular expression", BACKBONE + 'blocks = "("\n'),
    _wrong("blocks-no-group", "", "", "backbones[0].blocks", "a group around the block's name", BACKBONE + 'blocks = "b"\n'),
    _wrong("preprocessing", "", "", "backbones[0].preprocessing = 'tf'", "one of raw", BACKBONE.replace("raw", "tf")),
    _wrong("name-taken", "", "", "backbones[0].name = 'MobileNetV2'", "not yet taken", BACKBONE.replace("Mine", "MobileNetV2")),
    _wrong("name-a-path", "", "", "datasets[0].name = '../x'", "letters, digits, spaces", '[[datasets]]\nname = "../x"\nfolder = "x"\n'),
    _wrong("dataset-two-sources", "", "", "datasets[0]", "either tfds = NAME or folder = PATH", '[[datasets]]\nname = "x"\nfolder = "x"\ntfds = "y"\n'),
    _wrong("head-two-kinds", "", "", "heads[0].layers[0]", "either dense = UNITS or dropout = RATE", '[[heads]]\nname = "x"\nlayers = [{dense = 2, dropout = 0.5}]\n'),
    _wrong("binary-head-ten-classes", '["linear"]', '["b"]', "matrix[0].heads[0] = 'b'", "digits has 10 classes", '[[heads]]\nname = "b"\nloss = "binary"\n'),
)  # fmt: skip

_MATRICES = (
    _wrong("no-matrix", SUITE[SUITE.index("[[matrix]]") : SUITE.index("[smoke]")], "", "matrix is missing", "[[matrix]] with backbones, datasets, freezes"),
    _wrong("matrix-of-nothing", 'backbones = ["MobileNetV2"]', "backbones = []", "matrix[0].backbones = []", "at least one"),
    _wrong("no-seeds", "seeds = [0, 1]", "seeds = []", "matrix[0].seeds = []", "at least one"),
    _wrong("twice-the-same", '["digits"]', '["digits", "digits"]', "matrix[0].datasets", "'digits' is there twice"),
    _wrong("seed-twice", "seeds = [0, 1]", "seeds = [1, 1]", "matrix[0].seeds", "1 is there twice"),
    _wrong("too-many-trials", "seeds = [0, 1]", f"seeds = {list(range(1100))}\ntrain_examples = {list(range(2, 1100))}", "matrix", "at most"),
    _wrong("only-traps-that-are-none", 'freezes = ["head_only", "all"]', 'freezes = ["head_only"]\ntraps = ["no_recompile"]', "matrix[0].traps", "a mistake in some trial"),
)  # fmt: skip

_OPTIONS = (
    _set("set-no-value", "phase1.epochs", "phase1.epochs", "expected KEY=VALUE"),
    _set("set-no-key", "=3", "=3", "expected KEY=VALUE"),
    _set("set-unknown-key", "phase1.epoch=3", "phase1.epoch", "did you mean epochs?"),
    _set("set-unknown-table", "phase3.epochs=3", "phase3", "did you mean phase2 or phase1"),
    _set("set-wrong-value", "phase1.epochs=many", "phase1.epochs 'many'", "a whole number"),
    _set("set-no-number", "phase1.learning_rate=nan", "phase1.learning_rate nan", "a finite number"),
    _set("set-list-for-text", "description=[1]", "description", "a text in quotes"),
    Case("only-nothing", AREA, ("run", FILE, "--only", "ResNet50"), ("ResNet50",), ("MobileNetV2",), suite()),
    Case("only-one-of-two", AREA, ("run", FILE, "--only", "head_only", "--only", "zzz"), ("zzz",), ("MobileNetV2",), suite()),
    _wrong("smoke-missing", "[smoke]\nmatrix = {seeds = [0]}\n", "", "smoke is missing", "a [smoke] table", words=("--smoke",)),
    _wrong("smoke-unknown-key", "{seeds = [0]}", "{seed = [0]}", "smoke.matrix[0].seed", "did you mean seeds?", words=("--smoke",)),
    _wrong("smoke-wrong-value", "{seeds = [0]}", "{seeds = [-1]}", "smoke.matrix[0].seeds[0]", "greater than or equal to 0"),
    Case("unknown-suite-name", AREA, ("run", "smal"), ("suites/smal.toml",), ("did you mean small.toml?",), both(text("suites/small.toml", SUITE))),
    Case("no-such-path", AREA, ("run", "there/suite.toml"), ("there/suite.toml",), ("a file that exists", "its folder is not there either")),
    Case("set-on-results", AREA, ("run", "run", "--set", "phase1.epochs=2"), ("run:", "--set"), ("run as they are",), empty("run")),
    Case("null-byte", AREA, ("run", "a\0b.toml"), ("a\N{REPLACEMENT CHARACTER}b.toml",), ("a file that can be read",)),
    Case("name-too-long", AREA, ("run", "a" * 300 + ".toml"), ("aaa",), ("a suite's name, or its file",)),
)  # fmt: skip

CASES = (*_FILES, *_KEYS, *_TYPES, *_NUMBERS, *_NAMES, *_MATRICES, *_OPTIONS)
ACCEPTED = (
    Accepted("byte-order-mark", AREA, ("run", FILE, "--dry-run"), ("4 trials",), text(FILE, b"\xef\xbb\xbf" + SUITE.encode())),
    Accepted("windows-line-ends", AREA, ("run", FILE, "--dry-run"), ("4 trials",), text(FILE, SUITE.replace("\n", "\r\n"))),
    Accepted("odd-rates", AREA, ("run", FILE, "--dry-run"), ("4 trials", "note: phase 2's learning rate"), suite("1e-5", "0.5")),
)  # fmt: skip
