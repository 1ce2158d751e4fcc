"""Fingerprints as records: keys, shapes, and which cases there are."""

from pathlib import Path

import pytest
from conftest import make_numerics, make_spec

from bench import suite as suites
from bench.costs import CostSpec
from bench.errors import BenchError
from bench.numerics import NumericsResult, NumericsSpec, Pass
from bench.records import Backbone, Environment, Execution
from bench.running import interleaved, numerics_cases
from bench.running.messages import Finished, Task
from bench.tasks import ROWS

SUITES = Path(__file__).parents[1] / "suites"
SPEC = NumericsSpec(backbone=Backbone(name="MobileNetV2", weights="random"))


def environment(packages: dict[str, str]) -> Environment:
    return Environment(
        bench_version="1.0",
        python_version="3.12.0",
        platform="Linux x86_64",
        processor="a processor",
        cores=2,
        memory_gib=8.0,
        packages=packages,
    )


def test_a_key_is_what_decides_the_numbers() -> None:
    changed = (
        SPEC.model_copy(update={"image_size": 128}),
        SPEC.model_copy(update={"precision": "mixed_bfloat16"}),
        SPEC.model_copy(update={"optimizers": ("adam", "sgd")}),
        SPEC.model_copy(update={"backbone": Backbone(name="MobileNetV2")}),
    )
    assert SPEC.key == NumericsSpec.model_validate_json(SPEC.model_dump_json()).key
    assert len({SPEC.key, *(spec.key for spec in changed)}) == 5


def test_a_released_key_stays() -> None:
    assert SPEC.key == "19aff25294dc656107244681c953fd7c"


def test_a_row_has_a_number_for_every_probe() -> None:
    fingerprint = make_numerics()
    assert NumericsResult.model_validate_json(fingerprint.model_dump_json()) == fingerprint
    content = fingerprint.model_dump()
    with pytest.raises(ValueError, match="as many numbers as probes"):
        NumericsResult.model_validate(content | {"probes": fingerprint.probes[1:]})


def test_the_numbers_of_a_probe_are_found_by_its_place() -> None:
    way = Pass(
        mode="graph", unit=1e-7, norms=(1, 2), roundings=(1e-7,) * 2, sketches=tuple(range(8))
    )
    assert way.sketch(1) == (4.0, 5.0, 6.0, 7.0)


def test_a_worker_understands_each_kind_of_task() -> None:
    fingerprint = make_numerics()
    cost = CostSpec(backbone=SPEC.backbone, workload="inference")
    for spec in (SPEC, cost, make_spec()):
        assert Task.model_validate_json(Task(work=spec).model_dump_json()).work == spec
        assert ROWS[type(spec)].model_fields["spec"].annotation is type(spec)
    reply = Finished(result=fingerprint)
    assert Finished.model_validate_json(reply.model_dump_json()).result == fingerprint


def test_fingerprints_of_one_backbone_go_to_one_engine() -> None:
    asked = numerics_cases.of_backbones(["VGG16", "ResNet50"], ("float32", "mixed_bfloat16"))
    assert [len(group) for group in interleaved.groups(asked.cases)] == [2, 2]


def test_a_suite_gives_each_backbone_and_size_once() -> None:
    asked = numerics_cases.of_suite(suites.load(SUITES / "real_small.toml"))
    assert len(asked.cases) == len({spec.backbone for spec in asked.cases})
    assert {spec.precision for spec in asked.cases} == {"float32"}
    assert {spec.optimizers for spec in asked.cases} == {("adam",)}
    assert asked.minutes == 30


@pytest.mark.parametrize(
    ("stated", "asked", "expected"),
    [
        ("auto", (), ["float32"]),
        ("float32", (), ["float32"]),
        ("mixed_float16", (), ["float32", "mixed_float16"]),
        ("mixed_float16", ("mixed_bfloat16",), ["mixed_bfloat16"]),
    ],
)
def test_precisions_are_stated_never_the_devices_choice(
    stated: str, asked: tuple[str, ...], expected: list[str]
) -> None:
    suite = suites.load(SUITES / "real_small.toml")
    execution = Execution.model_validate({"precision": stated})
    trial = suite.trials[0].model_copy(update={"execution": execution})
    one = suite.model_copy(update={"trials": (trial,)})
    found = numerics_cases.of_suite(one, asked)  # type: ignore[arg-type]
    assert [spec.precision for spec in found.cases] == expected


def test_backbones_by_name_need_no_weights_and_are_known() -> None:
    (spec, small) = numerics_cases.of_backbones(["InceptionV3", "VGG16", "VGG16"]).cases
    assert (spec.backbone.weights, spec.image_size, small.image_size) == ("random", 96, 96)
    with pytest.raises(BenchError, match="'VGG17': expected a suite or a backbone"):
        numerics_cases.of_backbones(["VGG17"])


def test_a_fingerprint_stands_while_packages_stay() -> None:
    packages = {"keras": "3.15.1", "pillow": "12.0.0"}
    fingerprint = make_numerics(environment=environment(packages))
    assert numerics_cases.stands(fingerprint, packages)
    assert not numerics_cases.stands(fingerprint, packages | {"pillow": "99.0"})
    unknown = fingerprint.model_copy(update={"environment": None})
    assert not numerics_cases.stands(unknown, packages)
