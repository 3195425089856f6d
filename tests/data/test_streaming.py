"""Data larger than memory: each row once, in an order of a stated quality, in bounded memory; and all errors."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from gpubp import (
    Checkpoints,
    DataError,
    MLPClassifier,
    MLPRegressor,
    Network,
    adam,
    lbfgs,
    momentum,
    open_stream,
    train,
)
from gpubp.backends.backend import choose_backend
from gpubp.data.streaming import _npy_source
from gpubp.data.streaming._prefetch import prefetch
from gpubp.data.streaming._shuffle_windows import TargetRange, shuffled_windows
from gpubp.data.streaming._stream_epoch import StreamEpoch
from gpubp.data.streaming.stream import ORDER_BYTES
from gpubp.data.streaming.validation import validate_stream
from gpubp.engine.plain.dropout import Dropout
from gpubp.errors import CheckpointError
from gpubp.optim.schedules import InverseScaling
from gpubp.testing import assert_agree
from tests.cuda_machines import needs_compiler
from tests.interrupts import interrupt_epoch

pa = pytest.importorskip("pyarrow")
parquet, csv = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow.csv")

N, N_IN, J = 1000, 3, 2
NETWORK = Network((N_IN, 4, J), activation="tanh")
SMALL = 26_000  # bytes: a window of some hundred rows


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gpubp-stream")]


def rows(n=N, dtype="float32"):
    rng = np.random.default_rng(0)
    x, targets = rng.normal(size=(n, N_IN)).astype(dtype), rng.normal(size=(n, J)).astype(dtype)
    x[:, 0] = np.arange(n)  # identifies a row
    return x, targets


def npy_pair(folder, **options):
    for name, array in zip("xd", rows(), strict=True):
        np.save(folder / f"{name}.npy", array)
    return open_stream(folder / "x.npy", folder / "d.npy", **options)


def npy_one(folder, **options):
    np.save(folder / "xd.npy", np.concatenate(rows(), axis=1))
    return open_stream(str(folder / "xd.npy"), target_columns=J, **options)


def npy_columns(folder, **options):
    x, targets = rows()
    np.save(folder / "dx.npy", np.concatenate([targets[:, :1], x, targets[:, 1:]], axis=1))
    return open_stream(folder / "dx.npy", target_columns=[0, -1], **options)


def table(start=0, stop=N):
    x, targets = rows()
    columns = {f"x{k}": x[start:stop, k] for k in range(N_IN)} | {f"d{k}": targets[start:stop, k] for k in range(J)}
    return pa.table(columns)


def parquet_file(folder, **options):
    parquet.write_table(table(), folder / "rows.parquet", row_group_size=30)
    return with_enough_memory(open_stream(folder / "rows.parquet", target_columns=["d0", "d1"], **options))


def parquet_folder(folder, **options):
    (folder / "parts").mkdir()
    (folder / "parts" / "README.txt").write_text("not a table")
    for number, (start, stop) in enumerate([(0, 400), (400, 410), (410, N)]):
        parquet.write_table(table(start, stop), folder / "parts" / f"{number}.parquet", row_group_size=30)
    return with_enough_memory(open_stream(folder / "parts", target_columns=["d0", "d1"], **options))


def with_enough_memory(stream):
    """Give a stream more memory for the metadata of its small row groups."""
    return replace(stream, memory=stream.memory + stream.source.tables.metadata_bytes)


def csv_file(folder, **options):
    csv.write_csv(table(), folder / "rows.csv")
    return open_stream(folder / "rows.csv", target_columns=["d0", "d1"], **options)


def csv_folder(folder, **options):
    (folder / "texts").mkdir()
    for number, (start, stop) in enumerate([(0, 400), (400, N)]):
        csv.write_csv(table(start, stop), folder / "texts" / f"{number}.csv")
    return open_stream(folder / "texts", target_columns=("d0", "d1"), **options)


def zarr_arrays(folder, **options):
    zarr = pytest.importorskip("zarr")
    for name, array in zip("xd", rows(), strict=True):
        zarr.create_array(folder / f"{name}.zarr", data=array, chunks=(30, array.shape[1]))
    return open_stream(folder / "x.zarr", folder / "d.zarr", **options)


def numpy_arrays(folder, **options):
    return open_stream(*rows(), **options)


def iterable(folder, **options):
    x, targets = rows()
    return open_stream([(x[at : at + 30], targets[at : at + 30]) for at in range(0, N, 30)], n_rows=N, **options)


def function(folder, **options):
    x, targets = rows()
    return open_stream(lambda: ((x[at : at + 30], targets[at : at + 30]) for at in range(0, N, 30)), **options)


KINDS = (
    *(npy_pair, npy_one, npy_columns, parquet_file, parquet_folder, csv_file, csv_folder),
    *(zarr_arrays, numpy_arrays, iterable, function),
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Make blocks of about 30 rows in every format."""
    monkeypatch.setattr("gpubp.data.streaming._source.BLOCK_BYTES", 30 * N_IN * 4)
    monkeypatch.setattr("gpubp.data.streaming._text_tables.BLOCK_BYTES", 1500)
    for module in ("_parquet_tables", "table_source"):
        monkeypatch.setattr(f"gpubp.data.streaming.{module}.PIECE_BYTES", 1000)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def stream(request, tmp_path):
    return request.param(tmp_path, memory=SMALL)


def gathered(blocks):
    x, targets = zip(*blocks, strict=True)
    return np.concatenate(x), np.concatenate(targets)


def parts_of(stream, size=32, seed=(1, 2), dtype="float32"):
    return StreamEpoch(
        stream,
        choose_backend("cpu"),
        stream.allocate_windows(size, dtype),
        size,
        seed,
        TargetRange(classes=stream.classes),
    )


def windows_of(parts):
    """Copy the rows of the windows in their order: later windows overwrite them."""
    windows = []
    for part in parts:
        order = slice(None) if part.order is None else part.order
        windows.append(
            (part.samples.x[order].copy(), part.samples.targets[order].copy(), part.fraction_done, part.fraction)
        )
    return windows


class TestSources:
    def test_give_each_row_in_order(self, stream):
        for got, expected in zip(gathered(stream.blocks(64)), rows(), strict=True):
            np.testing.assert_array_equal(got, expected)

    def test_give_each_row_once_in_a_random_order(self, stream):
        x, targets = gathered(stream.blocks(64, seed=1))
        order = x[:, 0].astype(int)
        assert sorted(order) == list(range(N))
        assert not np.array_equal(order, np.arange(N))
        for got, expected in zip((x, targets), rows(), strict=True):
            np.testing.assert_array_equal(got, expected[order])
        np.testing.assert_array_equal(gathered(stream.blocks(64, seed=1))[0], x)
        assert not np.array_equal(gathered(stream.blocks(64, seed=2))[0], x)

    def test_know_their_shape(self, stream):
        assert (stream.n_inputs, stream.n_outputs, stream.dtype) == (N_IN, J, "float32")
        assert stream.n_rows in (N, None)
        assert "3 inputs and 2 outputs" in repr(stream)

    @pytest.mark.parametrize("kind", KINDS[:-2], ids=lambda kind: kind.__name__)
    def test_draw_the_order_of_blocks(self, kind, tmp_path):
        """A row at the beginning of the file comes late as well as early."""
        stream, first = kind(tmp_path, memory=SMALL), []
        for seed in range(20):
            first.append(int(np.flatnonzero(gathered(stream.blocks(64, seed=seed))[0][:, 0] == 0)[0]))
        assert min(first) < N / 4
        assert max(first) > 3 * N / 4

    def test_of_quoted_text_and_lines_of_every_kind(self, tmp_path):
        text = '\ufeffa,"b\nb",c\r\n1,"x\n""1""",2\r\n\r\n3,"y",4\n\n5,,6'
        (tmp_path / "odd.csv").write_bytes(text.encode())
        from gpubp.data.streaming.table_files import open_tables

        for size in range(1, 60):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("gpubp.data.streaming._text_tables.BLOCK_BYTES", size)
                tables = open_tables(tmp_path / "odd.csv")
            assert tables.names == ("a", "b\nb", "c")
            pieces = list(tables.pieces())
            texts = [value for piece in pieces for value in piece.table.columns["b\nb"]]
            assert texts[:2] == ['x\n"1"', "y"]
            assert texts[2] is None or texts[2] != texts[2]
            assert [value for piece in pieces for value in piece.table.columns["c"]] == [2.0, 4.0, 6.0]
            assert [piece.first for piece in pieces] == np.cumsum([0, *tables.counts])[:-1].tolist()

    def test_partitions_are_columns(self, tmp_path):
        for year, town in ((2001, "Bad%20Ems"), (2002, "7")):
            folder = tmp_path / f"year={year}" / f"town={town}"
            folder.mkdir(parents=True)
            parquet.write_table(table(0, 10), folder / "part.parquet")
        from gpubp.data.streaming.table_files import open_tables

        first, second = (piece.table.columns for piece in open_tables(tmp_path).pieces())
        assert [*first] == [*(f"x{k}" for k in range(N_IN)), "d0", "d1", "year", "town"]
        assert (set(first["year"]), set(second["year"])) == ({2001}, {2002})
        assert (set(first["town"]), set(second["town"])) == ({"Bad Ems"}, {"7"})

    def test_files_whose_metadata_exceed_the_memory(self, tmp_path, monkeypatch):
        stream = parquet_folder(tmp_path, memory=SMALL)
        monkeypatch.setattr("gpubp.data.streaming._parquet_tables.MAX_METADATA_BYTES", 64_000)
        (tmp_path / "again").mkdir()
        again = parquet_folder(tmp_path / "again", memory=SMALL)
        held = {group.file.metadata is not None for group in again.source.tables.groups}
        assert held == {False, True}
        assert again.source.tables.metadata_bytes < stream.source.tables.metadata_bytes
        for got, expected in zip(gathered(again.blocks(64, seed=1)), gathered(stream.blocks(64, seed=1)), strict=True):
            np.testing.assert_array_equal(np.sort(got, axis=0), np.sort(expected, axis=0))

    def test_parts_of_other_columns(self, tmp_path):
        parquet_folder(tmp_path)
        parquet.write_table(table().drop(["x1"]), tmp_path / "parts" / "3.parquet")
        with pytest.raises(DataError, match=r"3\.parquet lacks the column 'x1', which .*0\.parquet has"):
            open_stream(tmp_path / "parts", target_columns=["d0", "d1"])

    def test_classes_become_one_hot(self, tmp_path):
        x, labels = rows()[0], np.arange(N) % 4
        np.save(tmp_path / "x.npy", x)
        np.save(tmp_path / "labels.npy", labels)
        stream = open_stream(tmp_path / "x.npy", tmp_path / "labels.npy", classes=4, memory=SMALL)
        assert stream.n_outputs == 4
        x, targets = gathered(stream.blocks(64, seed=0))
        np.testing.assert_array_equal(targets.argmax(axis=1), x[:, 0].astype(int) % 4)
        np.testing.assert_array_equal(np.unique(targets, axis=1).sum(axis=1), 1)

    def test_of_float64(self, tmp_path):
        np.save(tmp_path / "xd.npy", np.concatenate(rows(dtype="float64"), axis=1))
        stream = open_stream(tmp_path / "xd.npy", target_columns=J)
        assert stream.dtype == "float64"
        assert train(NETWORK, stream, epochs=1, device="cpu").theta.dtype == np.float64
        assert train(NETWORK, stream, epochs=1, device="cpu", dtype="float32").theta.dtype == np.float32


class TestWindows:
    @pytest.mark.parametrize("size", [1, 32, 100])
    def test_are_whole_batches_within_the_memory(self, stream, size):
        parts = parts_of(stream, size)
        windows = windows_of(parts)
        counts = [len(x) for x, *_ in windows]
        assert len(counts) > 2
        assert all(count == parts.buffers.n_rows and count % size == 0 for count in counts[:-1])
        assert sum(counts) == N
        taken = 2 * parts.buffers.n_rows * (4 * (N_IN + J) + ORDER_BYTES) + stream.source.reading_bytes
        assert taken <= stream.memory
        assert sum(place.nbytes for place in parts.buffers.x + parts.buffers.targets) <= stream.memory

    def test_know_their_place_in_the_epoch(self, stream):
        windows = windows_of(parts_of(stream))
        ends = np.cumsum([len(x) for x, *_ in windows])
        fractions_done, fractions = (np.asarray([window[k] for window in windows]) for k in (2, 3))
        if stream.n_rows is None:
            np.testing.assert_array_equal([*fractions_done, *fractions], 0.0)
        else:
            np.testing.assert_allclose(fractions_done, (ends - [len(x) for x, *_ in windows]) / N)
            np.testing.assert_allclose(fractions, [len(x) / N for x, *_ in windows])

    def test_drop_units_by_their_place_in_the_epoch(self, stream):
        dropout = Dropout((N_IN,), (0.4,), 7, epoch=2)
        parts = replace(parts_of(stream), dropout=dropout)
        for n_left_out in (0, 1):
            rows = n_left_out * parts.buffers.n_rows
            for part in parts.after(n_left_out):
                masks = np.concatenate([batch.dropout_masks[0] for _, batch in part])
                np.testing.assert_array_equal(masks, dropout.mask(0, rows + np.arange(len(masks)), "float32"))
                rows += len(masks)
            assert rows == N

    @pytest.mark.parametrize("seed", [(1, 2), None])
    def test_can_be_left_out(self, stream, seed):
        parts = parts_of(stream, seed=seed)
        everything = windows_of(parts)
        for n in range(len(everything) + 1):
            rest = windows_of(parts.after(n))
            assert len(rest) == len(everything) - n
            for got, expected in zip(rest, everything[n:], strict=True):
                for a, b in zip(got, expected, strict=True):
                    np.testing.assert_array_equal(a, b)
        assert len(windows_of(parts.after(1).after(1))) == len(everything) - 2

    def test_that_are_left_out_are_not_read(self, tmp_path, monkeypatch):
        stream, read = npy_pair(tmp_path, memory=SMALL), []
        before = _npy_source.NpyFile.read
        monkeypatch.setattr(
            _npy_source.NpyFile, "read", lambda file, first, n: read.append(n) or before(file, first, n)
        )
        parts = parts_of(stream)
        windows_of(parts)
        read.clear()
        windows_of(parts.after(2))
        assert sum(read) / 2 < N - 2 * parts.buffers.n_rows + 60

    def test_have_orders_of_their_own(self, tmp_path):
        first, second, *_ = (part.order for part in parts_of(npy_pair(tmp_path, memory=SMALL)))
        assert len(first) == len(second)
        assert not np.array_equal(first, second)

    def test_are_of_one_size(self, tmp_path):
        """No window is much smaller than the others if the number of rows is known."""
        stream = npy_pair(tmp_path, memory=SMALL)
        counts = [len(x) for x, *_ in windows_of(parts_of(stream, 32))]
        assert min(counts) >= max(counts) - 32 * len(counts)

    def test_with_too_little_memory(self, tmp_path):
        stream = npy_pair(tmp_path, memory=2000)
        with pytest.raises(DataError, match=r"memory=2,000 bytes is too little .* pass ([\d,]+) or more") as error:
            train(NETWORK, stream, batch_size=100, device="cpu")
        needed = int(str(error.value).partition("pass ")[2].partition(" or")[0].replace(",", ""))
        train(NETWORK, npy_pair(tmp_path, memory=needed), batch_size=100, epochs=1, device="cpu")


@pytest.fixture(scope="module")
def drawn():
    """The order of the rows in many epochs: 1000 rows in 25 blocks, 4 windows."""
    stream, size = open_stream(*rows(), block_rows=40, memory=SMALL), 25
    buffers, orders = stream.allocate_windows(size, "float32"), []
    for seed in range(400):
        filled = shuffled_windows(stream.source, buffers, n_rows=N, seed=[seed], target_range=TargetRange())
        orders.append(np.concatenate([window.x[window.order, 0].astype(int) for window in filled]))
    return stream.mixing(size), np.asarray(orders)


class TestMixing:
    """Each formula against a simulation."""

    def test_of_places(self, drawn):
        mixing, epochs = drawn
        assert mixing.place == 1 / 25
        places = np.argsort(epochs, axis=1)  # (epochs, rows)
        noise = 1.63 / np.sqrt(len(epochs))  # of Kolmogorov's distance, exceeded by 1 row in 100
        expected = (np.arange(len(epochs)) + 1) / len(epochs)
        distances = np.max(np.abs(np.sort((places + 0.5) / N, axis=0) - expected[:, None]), axis=0)
        assert np.mean(distances > mixing.place + noise) < 0.02
        assert np.mean(distances > noise) < 0.5  # the bound is not met by chance alone

    def test_of_neighbours(self, drawn):
        mixing, epochs = drawn
        batch_of = np.argsort(epochs, axis=1) // 25
        pairs = [row for row in range(N - 1) if row // 40 == (row + 1) // 40]
        together = np.mean(batch_of[:, pairs] == batch_of[:, [row + 1 for row in pairs]])
        assert mixing.window_rows == 350
        assert mixing.neighbours == 24 / 349
        share_of_windows = 0.7 * 24 / 349 + 0.3 * 24 / 299  # the last one is smaller
        within = 1 - 2 / len(pairs)  # a pair that a window's end separates is never together
        assert together == pytest.approx(share_of_windows * within, rel=0.02)
        assert mixing.neighbours_full == 24 / 999
        assert mixing.neighbours > 2 * mixing.neighbours_full

    def test_of_batches(self, drawn):
        """The variance of the batch means of a feature that is constant within a block."""
        mixing, epochs = drawn
        figure = np.repeat(np.random.default_rng(3).normal(size=25), 40)
        means = figure[epochs].reshape(len(epochs), -1, 25).mean(axis=2)
        full = np.var(figure) / 25 * (1 - 25 / N)
        between_blocks = np.var(figure[::40], ddof=1) / np.var(figure)
        assert np.var(means) / full == pytest.approx(1 + between_blocks * mixing.excess, rel=0.05)
        assert mixing.excess > 1.0

    def test_of_unordered_rows_is_negligible(self, drawn):
        _, epochs = drawn
        figure = np.random.default_rng(3).normal(size=N)
        means = figure[epochs].reshape(len(epochs), -1, 25).mean(axis=2)
        assert np.var(means) == pytest.approx(np.var(figure) / 25 * (1 - 25 / N), rel=0.05)

    def test_of_a_window_that_has_all(self, tmp_path):
        mixing = npy_pair(tmp_path).mixing(25)
        assert mixing.window_rows == N
        assert mixing.neighbours == mixing.neighbours_full
        assert mixing.excess == 0.0

    def test_of_an_iterable_is_not_known(self, tmp_path):
        with pytest.raises(DataError, match="in a fixed order"):
            iterable(tmp_path).mixing(25)


def fit(samples, targets=None, **options):
    how = {"epochs": 3, "batch_size": 32, "optimizer": momentum(InverseScaling(0.05)), "device": "cpu"} | options
    return train(NETWORK, samples, targets, **how)


class TestTraining:
    @pytest.mark.parametrize("compiled", ["never", "always"])
    def test_is_that_of_arrays(self, stream, monkeypatch, compiled):
        """In the order of the file: the same batches, places in the epoch and bits."""
        monkeypatch.setenv("GPUBP_COMPILED", compiled)
        optimizer = momentum(0.05) if stream.n_rows is None else momentum(InverseScaling(0.05))
        held_out = {"validation_data": rows(50), "l2": 0.1}
        expected = fit(*rows(), optimizer=optimizer, shuffle=False, **held_out)
        got = fit(stream, optimizer=optimizer, shuffle=False, **held_out)
        np.testing.assert_array_equal(got.theta, expected.theta)
        assert got.history.loss == expected.history.loss
        assert got.history.validation_loss == expected.history.validation_loss

    def test_follows_from_the_seed(self, stream):
        first, again, other = (fit(stream, seed=seed, theta=np.full(NETWORK.n_parameters, 0.1)) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first.theta, again.theta)
        assert not np.array_equal(first.theta, other.theta)

    def test_sees_each_epoch_in_another_order(self, tmp_path, monkeypatch):
        stream, seeds = npy_pair(tmp_path, memory=SMALL), []
        before = StreamEpoch.__iter__
        monkeypatch.setattr(StreamEpoch, "__iter__", lambda parts: seeds.append(parts.seed) or before(parts))
        fit(stream)
        assert len(set(seeds)) == 3

    def test_of_batches_in_parts(self, tmp_path):
        options = {"gradient_accumulation": 3, "optimizer": momentum(0.05), "shuffle": False}
        np.testing.assert_array_equal(
            fit(npy_pair(tmp_path, memory=SMALL), **options).theta, fit(*rows(), **options).theta
        )

    def test_by_several_processes_is_refused(self, tmp_path):
        with pytest.raises(DataError, match="by one process, but 2 were requested"):
            validate_stream(NETWORK, numpy_arrays(tmp_path), None, adam(), 1, 32, None, None, 2)

    def test_of_a_stack(self, stream):
        options = {"optimizer": momentum(0.05), "shuffle": False, "seed": (1, 2)}
        np.testing.assert_array_equal(fit(stream, **options).theta, fit(*rows(), **options).theta)

    def test_on_a_device_whose_arrays_do_not_mix(self, tmp_path):
        stream = npy_pair(tmp_path, memory=SMALL)
        there, here = (fit(stream, device=device) for device in ("array_api_strict:device1", "cpu"))
        assert_agree(there.theta, here.theta, "fit")
        assert type(there.theta) is np.ndarray

    @needs_compiler
    def test_on_a_gpu_windows_share_its_places(self, emulated_gpu, tmp_path, monkeypatch):
        from gpubp.engine.cuda import epoch

        monkeypatch.setattr(epoch, "STEPS_PER_GRAPH", 2)
        constructed, before = [], epoch.LayerwiseSteps
        monkeypatch.setattr(epoch, "LayerwiseSteps", lambda *given: constructed.append(1) or before(*given))
        stream = npy_pair(tmp_path, memory=SMALL)
        there, here = (fit(stream, device=device, optimizer=momentum(0.05)) for device in ("cuda", "cpu"))
        assert_agree(there.theta, here.theta, "fit")
        assert len(emulated_gpu) == 1
        assert len(constructed) <= 2  # for full windows, and for the last one
        assert len(windows_of(parts_of(stream))) > 2

    def test_is_interrupted(self, tmp_path):
        stream, before = npy_pair(tmp_path, memory=SMALL), threading.active_count()

        got = fit(stream, callbacks=[interrupt_epoch(2)])
        assert (got.stop_reason, len(got.history.loss)) == ("interrupted", 2)
        assert threading.active_count() == before

    def test_is_interrupted_while_it_waits_for_rows(self):
        x, targets = rows()
        begun = []

        def blocks():
            begun.append(1)
            for at in range(0, N, 30):
                if len(begun) == 4 and at == 600:  # the first call only reads the shape of a block
                    os.kill(os.getpid(), signal.SIGINT)
                    threading.Event().wait(0.05)  # until the caller, which waits for this block, has received it
                yield x[at : at + 30], targets[at : at + 30]

        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
        try:
            got = fit(open_stream(blocks, memory=10**6), epochs=9)
        finally:
            signal.signal(signal.SIGINT, before)
        assert (got.stop_reason, len(got.history.loss)) == ("interrupted", 2)

    def test_is_interrupted_within_an_epoch(self, tmp_path, monkeypatch):
        stream, before = npy_pair(tmp_path, memory=SMALL), StreamEpoch.__iter__

        def broken(parts):
            with closing(before(parts)) as given:
                yield next(given)
                raise KeyboardInterrupt

        monkeypatch.setattr(StreamEpoch, "__iter__", broken)
        assert fit(stream).stop_reason == "interrupted"

    @pytest.mark.parametrize("kind", [npy_pair, csv_folder, function], ids=lambda kind: kind.__name__)
    @pytest.mark.parametrize("stopped_after", [1, 2, 4, 7])
    def test_continues_within_an_epoch_to_the_same_bits(self, tmp_path, monkeypatch, kind, stopped_after):
        stream, before, n_given = kind(tmp_path, memory=SMALL), StreamEpoch.__iter__, []
        n_windows = len(windows_of(parts_of(stream)))
        options = {"validation_data": rows(50), "optimizer": adam(), "patience": 2}
        whole = fit(stream, **options)

        def broken(parts):
            with closing(before(parts)) as given:
                for part in given:
                    if len(n_given) == stopped_after:
                        raise KeyboardInterrupt
                    yield part
                    n_given.append(part.n_samples)

        with monkeypatch.context() as patch:
            patch.setattr(StreamEpoch, "__iter__", broken)
            stopped = fit(stream, checkpoint=Checkpoints(tmp_path / "checkpoints", every_seconds=0.0), **options)
        assert stopped.stop_reason == "interrupted"
        epoch, part = stopped_after // n_windows, max(0, stopped_after % n_windows - 1)  # the last one ended nowhere
        newest = f"checkpoint-{epoch:08}-{part:05}.safetensors"
        assert stopped_after == 1 or newest == max(path.name for path in (tmp_path / "checkpoints").iterdir())
        resumed = fit(stream, checkpoint=tmp_path / "checkpoints", resume=True, **options)
        np.testing.assert_array_equal(resumed.theta, whole.theta)
        assert resumed.history.loss == whole.history.loss

    def test_of_another_stream_does_not_continue(self, tmp_path):
        fit(npy_pair(tmp_path, memory=SMALL), checkpoint=tmp_path / "checkpoints")
        with pytest.raises(CheckpointError, match=r"stream_window_rows was \d+, is 1024"):
            fit(npy_pair(tmp_path), checkpoint=tmp_path / "checkpoints", resume=True)
        x, targets = rows()
        with pytest.raises(CheckpointError, match="stream_blocks was"):
            fit(open_stream(x + 1, targets, memory=SMALL), checkpoint=tmp_path / "checkpoints", resume=True)

    def test_of_a_stream_whose_last_rows_changed_does_not_continue(self, tmp_path):
        x, targets = rows()
        fit(open_stream(x, targets, memory=SMALL), checkpoint=tmp_path / "checkpoints")
        x[-1] += 1.0
        with pytest.raises(CheckpointError, match="stream_sampled_rows was"):
            fit(open_stream(x, targets, memory=SMALL), checkpoint=tmp_path / "checkpoints", resume=True)

    def test_a_program_with_a_half_used_stream_ends(self):
        program = """
import numpy as np, gpubp
def main():
    blocks = gpubp.open_stream(lambda: ((np.ones((3, 2)), np.zeros(3)) for _ in range(99))).blocks(3)
    next(blocks)
    raise ValueError("of its own")
main()
"""
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 1
        assert ended.stderr.rstrip().endswith("ValueError: of its own")

    def test_block_by_block(self, tmp_path):
        """Estimators learn from blocks, as the documentation shows."""
        stream = npy_one(tmp_path, memory=SMALL)
        model = MLPRegressor(hidden_layer_sizes=(4,), random_state=0, device="cpu")
        for epoch in range(2):
            for x, targets in stream.blocks(200, seed=epoch):
                model.partial_fit(x, targets)
        assert model.t_ == 2 * N
        labels = open_stream(rows()[0], np.arange(N) % 3, memory=SMALL)
        classifier = MLPClassifier(hidden_layer_sizes=(4,), random_state=0, device="cpu")
        for x, targets in labels.blocks(200, seed=0):
            classifier.partial_fit(x, targets[:, 0].astype(int), classes=[0, 1, 2])
        assert classifier.t_ == N

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"targets": rows()[1]}, "omit targets"),
            ({"sample_weight": np.ones(N)}, "sample_weight needs all samples"),
            ({"stop_when": lambda targets, y: False}, "stop_when needs all samples"),
            ({"batch_size": "full"}, "batch_size='full' needs all samples"),
            ({"optimizer": lbfgs(), "batch_size": "auto"}, "lbfgs needs all samples"),
        ],
    )
    def test_options_that_need_all_samples(self, tmp_path, options, message):
        with pytest.raises(DataError, match=message):
            fit(numpy_arrays(tmp_path), **options)

    def test_of_another_network(self, tmp_path):
        with pytest.raises(DataError, match=r"5 inputs and 2 outputs, .* has 3 and 2$"):
            train(Network((5, 2)), numpy_arrays(tmp_path))
        with pytest.raises(DataError, match=r"open_stream\(..., classes=7\)"):
            train(Network((3, 7)), open_stream(rows()[0], np.arange(N)))

    def test_without_targets(self):
        with pytest.raises(DataError, match="targets is missing; only a stream"):
            train(NETWORK, rows()[0])

    def test_of_an_iterator_takes_one_epoch(self, monkeypatch):
        x, targets = rows()

        def blocks():
            return ((x[at : at + 30], targets[at : at + 30]) for at in range(0, N, 30))

        monkeypatch.setenv(
            "GPUBP_COMPILED", "never"
        )  # the number of rows is unknown here, which excludes some compiled forms
        with pytest.raises(DataError, match="3 epochs read the blocks 3 times"):
            fit(open_stream(blocks()))
        once = fit(open_stream(blocks()), epochs=1, shuffle=False, optimizer=momentum(0.05))
        expected = fit(x, targets, epochs=1, shuffle=False, optimizer=momentum(0.05))
        np.testing.assert_array_equal(once.theta, expected.theta)


class TestPrefetch:
    def test_the_next_is_made_while_one_is_used(self):
        there, used = threading.Event(), threading.Event()

        def items(stopped):
            yield 1
            assert used.wait(10)  # one is in use by now
            there.set()
            yield 2

        given = prefetch(items)
        assert next(given) == 1
        used.set()
        assert there.wait(10)
        assert list(given) == [2]

    def test_no_more_than_the_next_is_made(self):
        begun = []

        def items(stopped):
            for k in range(5):
                begun.append(k)
                yield k

        with closing(prefetch(items)) as given:
            for k in given:
                assert len(begun) <= k + 2
        assert begun == list(range(5))

    def test_what_it_raises_is_raised(self):
        def items(stopped):
            yield 1
            raise DataError("row 7")

        given = prefetch(items)
        assert next(given) == 1
        with pytest.raises(DataError, match="row 7"):
            next(given)

    def test_ends_when_no_more_is_requested(self):
        ended = threading.Event()

        def items(stopped):
            try:
                yield 1
                while not stopped():
                    ended.wait(0.01)
            finally:
                ended.set()

        given = prefetch(items)
        assert next(given) == 1
        given.close()
        assert ended.is_set()


class TestFaults:
    @pytest.fixture
    def changed_after(self, monkeypatch):
        """Change the files once the first window has been trained on."""

        def changed_after(change):
            before, n = StreamEpoch.__iter__, [0]

            def changed(parts):
                with closing(before(parts)) as given:
                    for part in given:
                        yield part
                        n[0] += 1
                        if n[0] == 1:
                            change()

            monkeypatch.setattr(StreamEpoch, "__iter__", changed)

        return changed_after

    def test_a_file_that_ends_early(self, tmp_path):
        npy_pair(tmp_path)
        os.truncate(tmp_path / "x.npy", os.path.getsize(tmp_path / "x.npy") - 5 * 12 + 1)
        with pytest.raises(DataError, match=r"x\.npy ends early: .* 1,000 rows, .* 995 whole rows"):
            open_stream(tmp_path / "x.npy", tmp_path / "d.npy")

    def test_a_file_that_is_cut_short_while_it_is_read(self, tmp_path, changed_after):
        stream = npy_pair(tmp_path, memory=SMALL)
        changed_after(lambda: os.truncate(tmp_path / "x.npy", 2000))
        message = r"was cut short while it was read, from 12,128 to 2,000 bytes|ends early: row \d+ of 1,000 is missing"
        with pytest.raises(DataError, match=rf"x\.npy ({message})"):  # before the next block, or within it
            fit(stream)

    def test_a_file_that_is_cut_short_between_check_and_read(self, tmp_path, monkeypatch):
        stream = npy_pair(tmp_path, memory=SMALL)
        os.truncate(tmp_path / "x.npy", 128 + 12 * 100)
        monkeypatch.setattr("gpubp.data.streaming._source.FileState.check", lambda state, doing: None)
        with pytest.raises(DataError, match=r"x\.npy ends early: row 101 of 1,000 is missing"):
            fit(stream, shuffle=False)

    @pytest.mark.parametrize("kind", [npy_pair, parquet_folder, csv_folder], ids=lambda kind: kind.__name__)
    def test_a_file_that_is_written_again_while_it_is_read(self, tmp_path, changed_after, kind):
        stream = kind(tmp_path, memory=SMALL)

        def write():
            for file in (*tmp_path.glob("*.npy"), *tmp_path.glob("*/*.parquet"), *tmp_path.glob("*/*.csv")):
                os.utime(file, ns=(1, 1))  # as for other numbers of the same size

        changed_after(write)
        with pytest.raises(DataError, match="was changed while it was read"):
            fit(stream)

    @pytest.mark.parametrize("kind", [parquet_folder, csv_folder], ids=lambda kind: kind.__name__)
    def test_a_file_that_disappears(self, tmp_path, changed_after, kind):
        stream = kind(tmp_path, memory=SMALL)
        (path,) = [*tmp_path.glob("*/0.parquet"), *tmp_path.glob("*/0.csv")]
        changed_after(path.unlink)
        with pytest.raises(DataError, match=f"{path} cannot be read: No such file"):
            fit(stream, epochs=5)

    def test_parquet_that_is_damaged(self, tmp_path):
        stream = parquet_file(tmp_path, memory=SMALL)
        path = tmp_path / "rows.parquet"
        state = path.stat()
        content = bytearray(path.read_bytes())
        content[200:4000] = bytes(3800)
        path.write_bytes(content)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        with pytest.raises(DataError, match=r"rows\.parquet cannot be read in row group \d+, rows [\d,]+ to [\d,]+"):
            fit(stream)
        path.write_bytes(content[:-100])
        with pytest.raises(DataError, match=r"rows\.parquet cannot be read"):
            open_stream(path, target_columns="d0")

    def test_text_with_a_bad_row(self, tmp_path):
        csv_file(tmp_path)
        path = tmp_path / "rows.csv"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:500], "1,2,word,4,5", *lines[500:]]))
        with pytest.raises(DataError, match=r"rows\.csv: column 'x2', row 500 \(not .*\): 'word' is not a number"):
            fit(open_stream(path, target_columns=["d0", "d1"], memory=SMALL))
        path.write_text("\n".join([*lines[:500], "1,2,3", *lines[500:]]))
        with pytest.raises(DataError, match=r"rows\.csv, row 500: targets has nan"):  # a short row
            fit(open_stream(path, target_columns=["d0", "d1"], memory=SMALL))

    def test_text_with_a_quotation_mark_within_a_field(self, tmp_path):
        path = tmp_path / "marks.csv"
        path.write_text("a,b\n" + '1,5" wide\n2,x\n' * 3)
        from gpubp.data.streaming.table_files import open_tables

        with pytest.raises(DataError, match="a quotation mark is not closed, or is inside a field"):
            list(open_tables(path).pieces())

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
    def test_a_number_that_is_not_finite_is_reported_with_its_row(self, tmp_path, monkeypatch, kind):
        clean = rows()

        def spoilt(*given, **options):
            x, targets = (part.copy() for part in clean)
            x[777, 1] = np.inf
            return x, targets

        monkeypatch.setitem(globals(), "rows", spoilt)
        where = {"parquet_folder": "2.parquet, row 368", "csv_folder": "1.csv, row 378"}.get(kind.__name__, "row 778")
        with pytest.raises(DataError, match=f"{where}: X has inf in column 2"):
            fit(kind(tmp_path, memory=SMALL))

    def test_a_bad_row_in_what_is_left_of_a_block(self, tmp_path):
        x, targets = rows()
        first = numpy_arrays(tmp_path, memory=SMALL, block_rows=30).window_rows(32)
        assert first % 30  # a block is cut apart
        x[first, 0] = np.nan
        with pytest.raises(DataError, match=f"row {first + 1}: X has nan"):
            fit(open_stream(x, targets, memory=SMALL, block_rows=30), shuffle=False)

    def test_a_number_too_large_for_the_precision(self):
        x, targets = rows(dtype="float64")
        x[3, 0] = 1e300
        with pytest.raises(DataError, match=r"row 4: X has inf in column 1; every value must be finite in float32"):
            fit(open_stream(x, targets), dtype="float32")

    def test_targets_that_the_loss_does_not_take(self):
        x, targets = rows()
        network = Network((N_IN, J), loss="poisson")
        with pytest.raises(DataError, match=r"row \d+: the loss 'poisson' needs targets from 0 to inf, got -"):
            train(network, open_stream(x, targets), device="cpu")

    @pytest.mark.parametrize("bad", [4, -1, 0.5])
    def test_an_invalid_class(self, bad):
        labels = (np.arange(N) % 4).astype(float)
        labels[5] = bad
        with pytest.raises(DataError, match=r"row 6: a class must be a whole number from 0 to 3"):
            list(open_stream(rows()[0], labels, classes=4).blocks())

    def test_an_iterable_that_fails(self):
        x, targets = rows()

        def blocks():
            yield x, targets
            yield x, targets + np.inf

        with pytest.raises(DataError, match="row 1,001: targets has inf"):
            fit(open_stream(blocks))

        def dying():
            yield x, targets
            raise OSError("the line is dead")

        with pytest.raises(DataError, match="block 2 of the iterable could not be made: OSError: the line is dead"):
            fit(open_stream(dying))

    @pytest.mark.parametrize(
        ("second", "message"),
        [
            (rows()[0], "must be a pair"),
            ((rows()[0], rows()[1][:5]), r"block 2 of the iterable must be numbers \(rows, inputs\)"),
            ((rows()[0][:, :2], rows()[1]), "has 2 inputs and 2 outputs, the blocks before it have 3 and 2"),
            ((rows()[0], np.full((N, J), "a")), "block 2 of the iterable must be numbers"),
        ],
    )
    def test_an_iterable_whose_blocks_do_not_fit(self, second, message):
        with pytest.raises(DataError, match=message):
            fit(open_stream([rows(), second]))

    def test_an_iterable_with_another_number_of_rows(self):
        with pytest.raises(DataError, match="yielded 1,000 rows, but n_rows is 900; pass n_rows=1000"):
            fit(open_stream([rows()], n_rows=900))

    def test_an_array_that_fails(self):
        class Broken(np.ndarray):
            def __getitem__(self, index):
                if isinstance(index, slice) and index.start and index.start > 500:
                    raise RuntimeError("checksum")
                return super().__getitem__(index)

        x, targets = rows()
        with pytest.raises(DataError, match=r"Broken cannot be read at rows \d+ to [\d,]+: checksum"):
            fit(open_stream(x.view(Broken), targets))


class TestOpening:
    @pytest.mark.parametrize(
        ("given", "options", "message"),
        [
            (("nowhere.npy",), {"target_columns": 1}, "no such file or folder: nowhere.npy"),
            (("x.npy",), {}, "pass the targets once"),
            (("x.npy", "d.npy"), {"target_columns": 1}, "pass the targets once"),
            (("x.npy",), {"target_columns": 3}, "that leave some for X; got 3"),
            (("x.npy",), {"target_columns": [0, 7]}, r"that leave some for X; got \[0, 7\]"),
            (("x.npy", "short.npy"), {}, "has 1,000 rows, and short.npy has 10"),
            (("x.npy", rows()[1]), {}, "targets must be a .npy file too"),
            (("columns.npy", "d.npy"), {}, "was written column by column"),
            (("text.npy",), {"target_columns": 1}, "holds <U1"),
            (("broken.npy",), {"target_columns": 1}, "is not a readable .npy file"),
            (("rows.parquet",), {}, "name the target columns with target_columns="),
            (("rows.parquet",), {"target_columns": "d00"}, "has no column 'd00'"),
            (("rows.parquet",), {"target_columns": ["d0", "d0"]}, "each once"),
            (("mixed",), {"target_columns": "d0"}, r"several kinds \(.csv, .parquet\)"),
            (("rows.csv.gz",), {"target_columns": "d0"}, "zarr|unpack"),
            ((rows()[0],), {}, "needs targets: open_stream"),
            ((rows()[0], rows()[1][:5]), {}, r"got \(1000, 3\) and \(5, 2\)"),
            ((3,), {}, "a stream needs files"),
            (([],), {}, "the iterable is empty"),
            ((rows()[0], rows()[1]), {"classes": 3}, "needs one target column"),
            ((rows()[0], rows()[1]), {"memory": 0}, "memory must be a whole number above 0"),
            ((rows()[0], rows()[1]), {"n_rows": 7}, "has 1,000 rows, not 7"),
            ((rows()[0], rows()[1]), {"target_columns": 1}, "target_columns are columns of a .npy file or of a table"),
        ],
    )
    def test_invalid_arguments_are_refused(self, tmp_path, monkeypatch, given, options, message):
        monkeypatch.chdir(tmp_path)
        x, targets = rows()
        np.save("x.npy", x)
        np.save("d.npy", targets)
        np.save("short.npy", targets[:10])
        np.save("columns.npy", np.asfortranarray(x))
        np.save("text.npy", np.full((3, 2), "a"))
        (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00")
        (tmp_path / "rows.csv.gz").write_bytes(b"")
        parquet_file(tmp_path)
        (tmp_path / "mixed").mkdir()
        parquet.write_table(table(0, 5), tmp_path / "mixed" / "a.parquet")
        csv.write_csv(table(0, 5), tmp_path / "mixed" / "a.csv")
        with pytest.raises(DataError, match=message):
            open_stream(*given, **options)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
    @pytest.mark.parametrize("name", ["x.npy", "x.csv", "x.parquet"])
    def test_a_pipe(self, tmp_path, name):
        os.mkfifo(tmp_path / name)
        with pytest.raises(DataError, match="is not a regular file"):
            open_stream(tmp_path / name, target_columns=1)

    def test_text_in_a_column(self, tmp_path):
        parquet.write_table(pa.table({"a": ["x", "y"], "d": [1.0, 2.0]}), tmp_path / "t.parquet")
        with pytest.raises(DataError, match=r"t\.parquet: column 'a', row 1: 'x' is not a number"):
            list(open_stream(tmp_path / "t.parquet", target_columns="d").blocks())

    @pytest.mark.parametrize("module", ["pyarrow", "zarr"])
    def test_a_package_that_is_not_installed_is_named(self, tmp_path, monkeypatch, module):
        kind = {"pyarrow": parquet_file, "zarr": zarr_arrays}[module]
        kind(tmp_path)
        for name in [name for name in sys.modules if name.partition(".")[0] == module]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, module, None)
        path = {"pyarrow": "rows.parquet", "zarr": "x.zarr"}[module]
        more = {"pyarrow": {"target_columns": "d0"}, "zarr": {"targets": tmp_path / "d.zarr"}}[module]
        with pytest.raises(DataError, match=f"needs {module}: pip install"):
            open_stream(tmp_path / path, **more)


MEASURED = """
import sys
from gpubp import Network, open_stream, train
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) << 10
def fit(path, **options):
    stream = open_stream(path, target_columns="y" if path.endswith("parquet") else 1, **options)
    train(Network((63, 1)), stream, epochs=2, batch_size=256, device="cpu")
fit(sys.argv[1])
before = peak()
fit(sys.argv[2], memory=int(sys.argv[3]))
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the system does not tell the most memory used")
@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_memory_is_bounded(tmp_path, suffix):
    """The file is six times as large as the allowed memory; other memory of training is taken before."""
    memory, n_rows = 32 << 20, {}
    n_rows["small"], n_rows["large"] = 1000, 6 * memory // 256
    rng = np.random.default_rng(0)
    for name, n in n_rows.items():
        block = rng.normal(size=(1000, 64)).astype("float32")
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "npy":
            whole = np.lib.format.open_memmap(path, "w+", "float32", (n, 64))
            for start in range(0, n, 1000):
                whole[start : start + 1000] = block[: n - start]
            del whole
        else:
            part = pa.table({name: block[:, k] for k, name in enumerate([*map(str, range(63)), "y"])})
            with parquet.ParquetWriter(path, part.schema, compression="none", use_dictionary=False) as writer:
                for start in range(0, n, 4000):
                    writer.write_table(pa.concat_tables([part] * 4)[: n - start])
            assert path.stat().st_size > n * 256
    arguments = [*(str(tmp_path / f"{name}.{suffix}") for name in n_rows), str(memory)]
    env = os.environ | {"GPUBP_COMPILED": "never", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments], env=env, capture_output=True, text=True, check=True
    )
    assert memory / 2 < int(done.stdout) < memory + (6 << 20)
