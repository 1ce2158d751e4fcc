"""How trials run on this machine: device, precision, determinism, graph or XLA; and saying so."""

import os
import platform
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal, TextIO

import keras
import psutil
from packaging.utils import canonicalize_name

from bench import __version__
from bench.records import Environment, Execution, Stack
from bench.training import parallel

_PACKAGES = (
    *("tensorflow", "tensorflow-cpu", "tf-nightly", "tf-nightly-cpu", "jax", "jaxlib", "torch"),
    *("keras", "keras-nightly", "numpy", "h5py", "protobuf", "ml-dtypes"),
    *("tensorflow-datasets", "pillow"),
)

_UNSTEADY = "not have a deterministic implementation|this operation is not deterministic"
"""How PyTorch says that an operation gives other bits each time."""


def configure(execution: Execution, devices: int = 1) -> Stack:
    """Set precision, determinism and devices for every trial of this process.

    Args:
        execution: of its trials.
        devices: over how many a trial spreads its batches; the caller's thread trains them all.

    Returns:
        The stack that results: framework versions, devices, and the precision in force.

    Raises:
        BenchError: there are not so many devices here, or the backend cannot use several.
    """
    if devices > 1:
        parallel.prepare(devices)
    stack = detect(execution, devices)
    parallel.check_precision(stack.precision, devices)
    keras.config.set_dtype_policy(stack.precision)
    backend = stack.backend
    if backend == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        if execution.deterministic:
            keras.utils.set_random_seed(0)  # TensorFlow wants a seed before it goes deterministic
            tf.config.experimental.enable_op_determinism()
    elif backend == "torch" and execution.deterministic:
        import torch

        # Read when the first matrix product on a GPU is set up; without it that differs each time.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    if devices > 1:
        parallel.begin(devices)
    return stack


def detect(execution: Execution, devices: int = 1) -> Stack:
    """The stack this process would run the execution on; changes nothing."""
    backend = keras.backend.backend()
    device, has_bfloat16 = _device(backend)
    precision = execution.precision
    if precision == "auto":
        on_gpu = "mixed_bfloat16" if has_bfloat16 else "mixed_float16"
        precision_used = "float32" if device == "cpu" else on_gpu
    else:
        precision_used = precision
    return Stack(
        backend=backend,
        backend_version=_version(backend),
        keras_version=_version("keras"),
        device=parallel.named(device, devices),
        precision=precision_used,
    )


def _version(module: str) -> str:
    """Of a framework; what a distribution of another name (tf-nightly) brought says it itself."""
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        return str(import_module(module).__version__)


@contextmanager
def watched() -> Iterator[list[str]]:
    """What PyTorch says meanwhile of operations that it has no deterministic kernel for.

    TensorFlow raises instead, so that the trial fails; JAX says nothing.
    """
    said: list[str] = []
    with warnings.catch_warnings():
        shown = warnings.showwarning
        warnings.filterwarnings("always", message=f".*{_UNSTEADY}")

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if re.search(_UNSTEADY, str(message)):
                said.append(re.split(r", but you set|\. |\n", str(message))[0])
            else:
                shown(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield said


def reruns(
    execution: Execution, stack: Stack, said: Sequence[str] = ()
) -> tuple[Literal["equal", "not promised"], str]:
    """Whether running a trial again gives equal bits, and why, or under what.

    Args:
        execution: of the trial.
        stack: what ran it.
        said: by the backend, in `watched`.
    """
    if not execution.deterministic:
        return "not promised", "execution.deterministic = false"
    if said:
        return "not promised", "; ".join(dict.fromkeys(said))
    on_cpu = stack.device == parallel.named("cpu", parallel.count())
    if stack.backend == "jax" and not on_cpu:
        return "not promised", f"JAX on {stack.device} does not heed execution.deterministic"
    if parallel.count() > 1 and not on_cpu:
        return "not promised", f"in what order {stack.device} add up their gradients is not fixed"
    threads = _threads()
    many = "1 thread" if threads == 1 else f"{threads} threads"
    return "equal", f"for the same suite, stack and processor, with {many}"


def _threads() -> int:
    """How many threads the backend spreads one operation over."""
    backend = keras.backend.backend()
    asked = 0
    if backend == "torch":
        import torch

        asked = torch.get_num_threads()
    elif backend == "tensorflow":
        import tensorflow as tf

        asked = tf.config.threading.get_intra_op_parallelism_threads()
        stated = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
        asked = asked or (int(stated) if stated.isdigit() else 0)
    return asked or _cores()


def jit() -> bool:
    """Whether to compile with XLA: JAX has nothing else; elsewhere a plain graph until measured."""
    return bool(keras.backend.backend() == "jax")


def mode() -> Literal["graph", "xla", "eager"]:
    """What `jit` amounts to on this backend."""
    known: dict[str, Literal["graph", "xla"]] = {"tensorflow": "graph", "jax": "xla"}
    return known.get(keras.backend.backend(), "eager")


def environment() -> Environment:
    """The machine and the packages of this process."""
    installed: dict[str, str] = {
        canonicalize_name(d.name): d.version for d in metadata.distributions()
    }
    return Environment(
        bench_version=__version__,
        python_version=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=_cores(),
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        packages={name: installed[name] for name in _PACKAGES if name in installed},
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any backend says that memory ran out."""
    kind = type(error).__name__
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or kind in ("ResourceExhaustedError", "OutOfMemoryError")
        or "RESOURCE_EXHAUSTED" in text
        or "CUDA out of memory" in text
        or "DefaultCPUAllocator: can't allocate memory" in text
    )


def _device(backend: str) -> tuple[str, bool]:
    """Name of the first accelerator (``cpu`` where none) and whether it computes in bfloat16."""
    return {"tensorflow": _tensorflow_device, "jax": _jax_device, "torch": _torch_device}[backend]()


def _tensorflow_device() -> tuple[str, bool]:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "cpu", False
    details: dict[str, Any] = tf.config.experimental.get_device_details(gpus[0])
    return details.get("device_name", "gpu"), details.get("compute_capability", (0, 0)) >= (8, 0)


def _jax_device() -> tuple[str, bool]:
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu":
        return "cpu", False
    capability = getattr(device, "compute_capability", None)  # a TPU has none
    try:
        return device.device_kind, capability is None or float(capability) >= 8.0
    except ValueError:  # AMD's is a name such as gfx90a
        return device.device_kind, False


def _torch_device() -> tuple[str, bool]:
    import torch

    if not torch.cuda.is_available():
        return "cpu", False
    return torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0) >= (8, 0)


def _cores() -> int:
    """Cores this process may use, which in a container are often fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    """The processor's name; its bare architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
