"""TensorBoard's event files: the records of one run, written at once.

A file is a sequence of framed protocol buffers; framing and messages come from the package
tensorboard. Its own writer is not used: it imports TensorFlow where that is installed, and puts the
name of this machine into the file's. Nothing here imports TensorFlow.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import BenchError
from bench.reporting.exports import whole

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

FILE = "events.out.tfevents.bench"
"""The one file of a run, always of this name: writing a run again replaces it."""


class Event(NamedTuple):
    """One value of a run.

    Attributes:
        value: with its tag, as TensorBoard's message.
        wall: when, in seconds since 1970.
        step: where on the axis.
    """

    value: "Summary.Value"
    wall: float
    step: int = 0


def check() -> None:
    """Raise `BenchError` unless the package tensorboard is here."""
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError as error:
        raise BenchError(
            "event files need the package tensorboard: pip install 'keras-zoo-bench[tensorboard]'"
        ) from error


def scalar(tag: str, value: float, wall: float, step: int) -> Event:
    """A point of a curve, in float32."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Event(Summary.Value(tag=tag, simple_value=value), wall, step)


def text(tag: str, content: str, wall: float) -> Event:
    """Markdown for the text page."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    metadata = create_summary_metadata(display_name=None, description=None)
    tensor = make_tensor_proto([content.encode()])
    return Event(Summary.Value(tag=tag, metadata=metadata, tensor=tensor), wall)


def settings(
    values: Mapping[str, str | float], group: str, began: float, ended: float, ok: bool
) -> tuple[Event, Event]:
    """What the HParams page shows of a run.

    Args:
        values: of its hyperparameters, by name.
        group: runs of one group are taken together: seeds.
        began, ended: in seconds since 1970.
        ok: whether it came to a result.
    """
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    start = plugin_data_pb2.SessionStartInfo(group_name=group, start_time_secs=began)
    for name, value in values.items():
        if isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    status = api_pb2.STATUS_SUCCESS if ok else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=ended)
    data = plugin_data_pb2.HParamsPluginData
    return (
        _of_session(metadata.SESSION_START_INFO_TAG, data(session_start_info=start), began),
        _of_session(metadata.SESSION_END_INFO_TAG, data(session_end_info=end), ended),
    )


def _of_session(tag: str, data: "HParamsPluginData", wall: float) -> Event:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    described = metadata.create_summary_metadata(data)
    return Event(Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR), wall)


def write(run: Path, events: Iterable[Event], wall: float) -> None:
    """Write a run's file; of a run without events there is none.

    Args:
        run: its folder.
        events: in the order of their steps.
        wall: when it began, in seconds since 1970.

    Raises:
        BenchError: it cannot be written.
    """
    from tensorboard.compat.proto.event_pb2 import Event as Message
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    file, held = run / FILE, list(events)
    if not held:
        _remove(file)
        return
    messages = [Message(wall_time=wall, file_version="brain.Event:2")]
    for (moment, step), together in groupby(held, key=lambda e: (e.wall, e.step)):
        summary = Summary(value=[event.value for event in together])
        messages.append(Message(wall_time=moment, step=step, summary=summary))
    with whole(file) as temporary, temporary.open("wb") as stream:
        writer = RecordWriter(stream)
        for message in messages:
            writer.write(message.SerializeToString())


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise BenchError(f"{file}: cannot be removed: {error.strerror or error}") from error
