"""Static int8: ours beside onnxruntime.quantization.quantize_static, with the same data, in ONNX Runtime.

    python3 -m venv venv && venv/bin/pip install onnxruntime==1.32.0 onnx==1.23.2 tokenizers pillow
    cargo build --release -p model-build --features cli
    ORT_DYLIB_PATH=… venv/bin/python scripts/compare-static.py MODELS MINILM

MODELS holds the unpacked PyPI packages magika and rapidocr-onnxruntime, MINILM the checkpoint of
all-MiniLM-L6-v2. Samples are made of what lies in the Python installation (bytes of its files), of
rendered text and of generated sentences; half of them calibrate, the other half is held out. Prints,
for each model and method, agreement with fp32 on the held-out half (top-1, or the mean cosine of
embeddings), wall time, and peak resident memory of both tools; then the peak of ours with 32 and
with 512 samples.
"""

import argparse
import itertools
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOL = os.environ.get("MODEL_BUILD_TOOL", str(ROOT / "target/release/model-build"))


def peer(model, out, data, method):
    """What the other tool does, in a process of its own."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self):
            arrays = np.load(data)
            self.rows = ({k: arrays[k][i : i + 1] for k in arrays} for i in range(len(arrays[arrays.files[0]])))

        def get_next(self):
            return next(self.rows, None)

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    quantize_static(
        model, out, Reader(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8, per_channel=False, calibrate_method=methods[method],
    )


def timed(argv):
    """Wall seconds and peak resident megabytes of a process.

    The peak is polled from its own memory map: what wait4 tells starts with that of the parent.
    """
    start = time.perf_counter()
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while child.poll() is None:
        try:
            status = pathlib.Path(f"/proc/{child.pid}/status").read_text()
            peak = max([peak] + [int(l.split()[1]) for l in status.splitlines() if l.startswith("VmHWM")])
        except OSError:
            pass
        time.sleep(0.01)
    if child.returncode:
        raise SystemExit(f"failed: {argv}")
    return time.perf_counter() - start, peak / 1024


def file_features(count):
    """Bytes of files as magika takes them: the first and last 1024, 256 where there are none."""
    folder = pathlib.Path(np.__file__).parent.parent
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.stat().st_size > 64]
    random.Random(0).shuffle(files)
    rows = []
    for path in files[:count]:
        data = path.read_bytes()[:1 << 20]
        begin, end = data[:4096].lstrip()[:1024], data[-4096:].rstrip()[-1024:]
        row = np.full(2048, 256, np.int32)
        row[: len(begin)] = list(begin)
        row[2048 - len(end) :] = list(end)
        rows.append(row)
    return {"bytes": np.stack(rows)}


WORDS = "the quick brown fox jumps over lazy dog river market 2026 engine total invoice No. 4711 weather report".split()


def rendered(count, height, width, lines=1, flip=False):
    """Images of words, normalized as PaddleOCR's recognizers take them."""
    from PIL import Image, ImageDraw, ImageFont

    draw = random.Random(1)
    out = []
    for i in range(count):
        shade = draw.randrange(150, 256)
        image = Image.new("RGB", (width, height), (shade, shade, draw.randrange(150, 256)))
        pen = ImageDraw.Draw(image)
        step = height // lines
        for line in range(lines):
            text = " ".join(draw.choices(WORDS, k=draw.randrange(1, 4)))
            font = ImageFont.load_default(size=draw.randrange(step // 3, step * 2 // 3 + 1))
            pen.text((draw.randrange(0, 12), line * step + draw.randrange(0, step // 4 + 1)), text, fill=(draw.randrange(90),) * 3, font=font)
        if flip and i % 2:
            image = image.rotate(180)
        out.append(((np.asarray(image, np.float32) / 255 - 0.5) / 0.5).transpose(2, 0, 1))
    return {"x": np.stack(out)}


SUBJECTS = ["A man", "The old engineer", "My sister", "The company", "A small bird", "Our teacher", "The river", "Nobody"]
VERBS = ["plays", "repairs", "describes", "sells", "ignores", "remembers", "crosses", "paints"]
OBJECTS = ["the guitar", "a broken clock", "the results of the study", "fresh bread", "an empty street", "the constitution", "three questions", "his garden"]
ENDS = ["", " in the morning", " because the train was late", " without a word", " for the first time in years"]


def sentences(count):
    all_ = [f"{s} {v} {o}{e}." for s, v, o, e in itertools.product(SUBJECTS, VERBS, OBJECTS, ENDS)]
    random.Random(2).shuffle(all_)
    return all_[:count]


def tokens(minilm, count, length=64):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    found = tokenizer.encode_batch(sentences(count))
    column = lambda f: np.array([f(e) for e in found], np.int64)
    return {
        "input_ids": column(lambda e: e.ids),
        "attention_mask": column(lambda e: e.attention_mask),
        "token_type_ids": column(lambda e: e.type_ids),
    }


def outputs(model, data):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = {i.name for i in session.get_inputs()}
    count = len(next(iter(data.values())))
    rows = [session.run(None, {k: v[i : i + 1] for k, v in data.items() if k in names})[0] for i in range(count)]
    return np.concatenate(rows)


def agreement(kind, want, got):
    if kind == "cosine":
        a, b = want.reshape(len(want), -1), got.reshape(len(got), -1)
        return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())
    if kind == "mask":
        return float(((want > 0.3) == (got > 0.3)).mean())
    return float((want.argmax(-1) == got.argmax(-1)).mean())


def main():
    if sys.argv[1:2] == ["--peer"]:
        return peer(*sys.argv[2:])
    parser = argparse.ArgumentParser()
    parser.add_argument("models", type=pathlib.Path)
    parser.add_argument("minilm", type=pathlib.Path)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run([TOOL, "convert", "-q", args.minilm, folder / "minilm.onnx"], check=True, stdout=subprocess.DEVNULL)
        find = lambda name: next(args.models.rglob(name))
        n = args.samples * 2
        cases = [
            ("magika", lambda: find("standard_v3_3/model.onnx"), "top1", lambda: file_features(n)),
            ("rapidocr cls", lambda: find("*cls_infer.onnx"), "top1", lambda: rendered(n, 48, 192, flip=True)),
            ("rapidocr rec", lambda: find("*rec_infer.onnx"), "top1", lambda: rendered(n, 48, 320)),
            ("rapidocr det", lambda: find("*det_infer.onnx"), "mask", lambda: rendered(n, 320, 320, lines=6)),
            ("MiniLM", lambda: folder / "minilm.onnx", "cosine", lambda: tokens(args.minilm, n)),
        ]
        print("| model | method | ours | theirs | ours, time, peak | theirs, time, peak |", "|---|---|---|---|---|---|", sep="\n")
        for name, model, kind, data in cases:
            if args.only not in name:
                continue
            pre = folder / "pre.onnx"
            quant_pre_process(str(model()), str(pre), skip_symbolic_shape=True)
            data = data()
            half = {k: v[: args.samples] for k, v in data.items()}
            rest = {k: v[args.samples :] for k, v in data.items()}
            np.savez(folder / "data.npz", **half)
            want = outputs(pre, rest)
            for method in ["minmax", "percentile", "entropy"]:
                ours, theirs = folder / "ours.onnx", folder / "theirs.onnx"
                t1, m1 = timed([TOOL, "convert", "-q", "--force", pre, ours, "--quantization.type", "int8",
                                "--quantization.method", "static", "--calibration.dataset", folder / "data.npz",
                                "--calibration.method", method])
                t2, m2 = timed([sys.executable, __file__, "--peer", pre, theirs, folder / "data.npz", method])
                a, b = (agreement(kind, want, outputs(m, rest)) for m in (ours, theirs))
                print(f"| {name} | {method} | {a:.4f} | {b:.4f} | {t1:.2f} s, {m1:.0f} MB | {t2:.2f} s, {m2:.0f} MB |", flush=True)
            if name == "MiniLM":
                peaks = []
                for count in (32, 512):
                    np.savez(folder / "data.npz", **tokens(args.minilm, count))
                    peaks.append(timed([TOOL, "convert", "-q", "--force", pre, ours, "--quantization.type", "int8",
                                        "--quantization.method", "static", "--calibration.dataset", folder / "data.npz",
                                        "--calibration.method", "percentile"]))
                print("\nMiniLM, percentile, 32 and 512 samples:", ", ".join(f"{t:.2f} s {m:.0f} MB" for t, m in peaks))


if __name__ == "__main__":
    main()
