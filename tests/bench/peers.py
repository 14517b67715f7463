#!/usr/bin/env python3
"""Times diffusers (torch), OpenVINO where it is installed, and dfx on the same model in one run.

    tests/bench/peers.py MODEL_DIR [--devices cpu,opencl] [--peers torch,openvino]
                         [--dtype f32|bf16] [--size 512] [--parts unet,vae,text,image]
                         [--batches 1,2] [--steps 20] [--rounds 3] [--converted DIR]
                         [--json F.json]

Run it with a Python that has torch, diffusers and transformers, after `make && make bench`. Parts:
a UNet step at each of --batches, the VAE's decoding, the text encoder on 2 prompts, and a whole
picture with guidance from a cold start. Each peer computes in a process of its own, so that its
memory is its own; all load and run once uncounted, then they take turns, one run each in every
round. OpenVINO reads a file into which the part was converted beforehand. A picture is drawn once:
files and compiled kernels are cached by one step beforehand, loading counts, Python's imports do
not.

The table has the best and the median second, the best for each picture or prompt of the batch and,
for each row of dfx, its best time as a part of the others'. On stderr stands what other processes
took of the cores: a run is only as good as that.
"""

import argparse
import contextlib
import datetime
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

BATCHES = {"vae": (1,), "text": (2,), "image": (1,)}  # the UNet's are an option
FOLDERS = {"unet": "unet", "vae": "vae", "text": "text_encoder"}
PROMPT, TOKENS, TIME_IDS, LATENT, GUIDANCE = "a red apple", 77, 6, 8, 7.5


# ---- workers: these run in a process of their own and import what they time ----


def unet_inputs(unet, job):
    """sample, timestep, text and, for SDXL, text_embeds and time_ids"""
    import torch

    c, batch, side = unet.config, job["batch"], job["size"] // LATENT
    inputs = (torch.randn(batch, c.in_channels, side, side, dtype=unet.dtype), torch.tensor([10.0]),
              torch.randn(batch, TOKENS, c.cross_attention_dim, dtype=unet.dtype))
    if c.addition_embed_type:
        pooled = c.projection_class_embeddings_input_dim - TIME_IDS * c.addition_time_embed_dim
        inputs += (torch.randn(batch, pooled, dtype=unet.dtype),
                   torch.full((batch, TIME_IDS), float(job["size"])))
    return inputs


def unet_step(unet):
    """The UNet's function on tensors alone: diffusers takes SDXL's in a dictionary."""
    def step(sample, timestep, text, *added, **more):
        added = dict(zip(("text_embeds", "time_ids"), added))
        return unet(sample, timestep, text, added_cond_kwargs=added, **more)
    return step


def torch_run(job):
    """A function that runs the part once."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    torch.set_num_threads(job["cores"])
    torch.manual_seed(0)
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[job["dtype"]]
    folder, batch, side = job["folder"], job["batch"], job["size"] // LATENT
    if job["part"] == "text":
        text_encoder = CLIPTextModel.from_pretrained(folder, dtype=dtype).eval()
        tokens = min(TOKENS, text_encoder.config.max_position_embeddings)
        ids = torch.arange(batch * tokens).reshape(batch, tokens)
        return lambda: text_encoder(ids)
    if job["part"] == "vae":
        vae = AutoencoderKL.from_pretrained(folder, dtype=dtype).eval()
        latent = torch.randn(batch, 4, side, side, dtype=dtype)
        return lambda: vae.decode(latent)
    unet = UNet2DConditionModel.from_pretrained(folder, dtype=dtype).eval()
    step, inputs = unet_step(unet), unet_inputs(unet, job)
    return lambda: step(*inputs)


def openvino_convert(job):
    """Writes the part into a file, in f16. Converting takes several times the memory of running."""
    import openvino
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    class Part(torch.nn.Module):
        """A model's function on plain tensors, which is what OpenVINO converts."""

        def __init__(self, model, function):
            super().__init__()
            self.model, self.function = model, function

        def forward(self, *inputs):
            return self.function(*inputs, return_dict=False)[0]

    folder, side = job["folder"], job["size"] // LATENT
    if job["part"] == "vae":
        model = AutoencoderKL.from_pretrained(folder, dtype=torch.float32).eval()
        part = Part(model, model.decode)
        inputs = (torch.randn(job["batch"], 4, side, side),)
    else:
        model = UNet2DConditionModel.from_pretrained(folder, dtype=torch.float32).eval()
        part = Part(model, unet_step(model))
        inputs = unet_inputs(model, job)
    shapes = [tuple(x.shape) for x in inputs]
    converted = openvino.convert_model(part, example_input=inputs, input=shapes)
    file = pathlib.Path(job["converted"])
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        written = pathlib.Path(folder) / file.name
        openvino.save_model(converted, written)
        for suffix in (".bin", file.suffix):  # the one that is asked for comes last
            os.replace(written.with_suffix(suffix), file.with_suffix(suffix))


def openvino_run(job):
    import numpy
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": job["dtype"], "INFERENCE_NUM_THREADS": job["cores"]}
    model = openvino.Core().compile_model(job["converted"], "CPU", hints)
    request, random = model.create_infer_request(), numpy.random.default_rng(0)
    arrays = [random.standard_normal(x.shape, dtype=numpy.float32) for x in model.inputs]
    return lambda: request.infer(arrays)


def torch_image(job):
    """A function that loads the pipeline and draws a picture."""
    import torch
    from diffusers import DiffusionPipeline

    torch.set_num_threads(job["cores"])
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[job["dtype"]]

    def draw():
        pipeline = DiffusionPipeline.from_pretrained(job["folder"], dtype=dtype)
        pipeline.set_progress_bar_config(disable=True)
        pipeline(PROMPT, num_inference_steps=job["steps"], guidance_scale=GUIDANCE,
                 height=job["size"], width=job["size"])

    return draw


def seconds_of(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def work(job):
    """Speaks as bench_model --wait does: runs once, then once for each line on standard input.
    A picture is drawn at once and once only."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print is not for the parent
    warnings.filterwarnings("ignore")  # torch's of tracing, and of what will change one day
    import diffusers
    import torch
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    image = job["part"] == "image"
    start = {"torch": torch_image if image else torch_run, "openvino": openvino_run}
    with torch.inference_mode():
        if job["engine"] == "convert":
            openvino_convert(job)
            return
        run = start[job["engine"]](job)
        print(json.dumps({"seconds": seconds_of(run)}), file=out)
        for _ in () if image else sys.stdin:
            print(json.dumps({"seconds": seconds_of(run)}), file=out)


# ---- the parent: imports nothing big, for a process starts with its parent's peak memory ----


class Peer:
    """One peer computing one part, in its own process."""

    def __init__(self, name, command, environment):
        self.name, self.command = name, command
        self.environment = environment
        self.process, self.failed, self.seconds, self.result = None, False, [], {}

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, text=True,
                                        stdout=subprocess.PIPE, env=self.environment)

    def read(self):
        """The next line, or None after a failure, about which the process itself has written."""
        line = self.process.stdout.readline()
        self.failed |= not line
        return json.loads(line) if line else None

    def warm_up(self):
        self.start()
        self.read()

    def turn(self):
        if self.failed:
            return
        with contextlib.suppress(BrokenPipeError):  # it has ended: there is nothing to read either
            self.process.stdin.write("run\n")
            self.process.stdin.flush()
        if line := self.read():
            self.seconds.append(line["seconds"])

    def end(self):
        """Lets the process finish and keeps what it used at most."""
        if not self.process:
            return
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        for line in self.process.stdout:
            if line.startswith("{"):  # bench_model's result; `dfx generate` prints a file's name
                self.result = json.loads(line)
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.process.stdout.close()
        self.failed |= self.process.returncode != 0
        self.result["peak_bytes"] = usage.ru_maxrss * 1024

    def kill(self):
        if self.process and self.process.returncode is None:
            self.process.kill()
            self.process.wait()


class Load:
    """What other processes take of the cores, in cores; from Linux's counters."""

    def __init__(self):
        self.start, self.busy, self.own = time.monotonic(), self.busy_now(), self.own_now()

    @staticmethod
    def busy_now():
        try:
            with open("/proc/stat", encoding="ascii") as f:
                user, nice, system, _, _, irq, soft, steal = map(int, f.readline().split()[1:9])
        except OSError:
            return 0
        return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def own_now():
        usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(u.ru_utime + u.ru_stime for u in usages)

    def others(self):
        used = self.busy_now() - self.busy - (self.own_now() - self.own)
        return max(0.0, used / (time.monotonic() - self.start))


def installed(name):
    return importlib.util.find_spec(name) is not None


def version(name):
    return importlib.metadata.version(name) if installed(name) else None


def environment(a):
    """The same number of threads for all. Waiting threads sleep unless the caller says otherwise:
    spinning ones are several times slower when anything else wants the cores."""
    threads = {"OMP_NUM_THREADS": str(a.cores), "POCL_MAX_PTHREAD_COUNT": str(a.cores)}
    return {"OMP_WAIT_POLICY": "passive", **os.environ, **threads}


def converted_file(a, part, batch):
    return pathlib.Path(a.converted) / f"{part}-{batch}-{a.size}.xml"


def convert(a, part, batch):
    """Makes OpenVINO's file of the part unless it is there. After a failure it is not, and the peer
    that reads it fails."""
    if converted_file(a, part, batch).exists():
        return
    peer = python_peer(a, "convert", part, batch, 0)
    try:
        peer.start()
        peer.end()
    finally:
        peer.kill()


def python_peer(a, engine, part, batch, steps):
    folder = os.path.join(a.model, FOLDERS.get(part, ""))
    job = {"engine": engine, "part": part, "batch": batch, "folder": folder, "dtype": a.dtype,
           "size": a.size, "cores": a.cores, "steps": steps,
           "converted": str(converted_file(a, part, batch))}
    command = [sys.executable, os.path.realpath(__file__), "--worker", json.dumps(job)]
    return Peer(engine, command, environment(a))


def dfx_peer(a, device, part, batch):
    command = [a.bench, "--wait", "--device", device, "--dtype", a.dtype, "--size", str(a.size),
               "--batch", str(batch), os.path.join(a.model, FOLDERS[part])]
    if a.profile:
        command.insert(1, "--profile")
    return Peer("dfx " + device, command, environment(a))


def dfx_image(a, device, steps, output):
    command = [a.dfx, "generate", PROMPT, "--model", a.model, "--steps", str(steps), "--quiet",
               "--guidance", str(GUIDANCE), "--seed", "0", "--width", str(a.size), "--height",
               str(a.size), "--device", device, "--dtype", a.dtype, "--output", output]
    return Peer("dfx " + device, command, environment(a))


def time_part(a, part, batch):
    """The part's peers, after their rounds."""
    engines = [e for e in a.peers if installed(e) and (e, part) != ("openvino", "text")]
    if "openvino" in engines:
        convert(a, part, batch)
    peers = [python_peer(a, engine, part, batch, 0) for engine in engines]
    peers += [dfx_peer(a, device, part, batch) for device in a.devices]
    try:
        for peer in peers:
            peer.warm_up()
        for _ in range(a.rounds):
            for peer in peers:
                peer.turn()
        for peer in peers:
            peer.end()
    finally:
        for peer in peers:
            peer.kill()
    return peers


def draw(peer):
    """Runs a process that draws one picture. A worker reports its own seconds; of a dfx all count,
    from its start to its end."""
    try:
        start = time.perf_counter()
        peer.start()
        peer.end()
        whole = time.perf_counter() - start
        peer.seconds = [peer.result.get("seconds", whole)]
    finally:
        peer.kill()
    return peer


def time_image(a):
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "image.png")
        peers = []
        for steps in (1, a.steps):
            peers = [draw(python_peer(a, "torch", "image", 1, steps))] if "torch" in a.peers else []
            peers += [draw(dfx_image(a, device, steps, output)) for device in a.devices]
    return peers


def rows_of(a, part, batch, peers):
    """One row for each peer. GFLOP/s is what the direct algorithm would do in that time."""
    flops = max(peer.result.get("flops", 0) for peer in peers)
    rows = []
    for peer in peers:
        row = {"part": part, "batch": batch, "peer": peer.name, "dtype": a.dtype, "size": a.size,
               **peer.result, "failed": peer.failed}
        if not peer.failed:
            best = min(peer.seconds)
            row |= {"seconds": peer.seconds, "seconds_best": best,
                    "seconds_median": statistics.median(peer.seconds),
                    "seconds_each": best / batch}
            if flops:
                row["gflops"] = flops / best / 1e9
        rows.append(row)
    good = [row for row in rows if not row["failed"]]
    for row in good:
        if row["peer"].startswith("dfx"):
            row["ratios"] = {other["peer"]: row["seconds_best"] / other["seconds_best"]
                             for other in good if not other["peer"].startswith("dfx")}
    return rows


def print_row(row):
    name = f"{row['part']:6}{row['batch']:5}  {row['peer']:11}{row['dtype']:5}"
    if row["failed"]:
        print(name, "  failed", flush=True)
        return
    gflops = f"{row['gflops']:9.0f}" if "gflops" in row else " " * 9
    ratios = "".join(f"  {value:.2f} of {name}" for name, value in row.get("ratios", {}).items())
    print(f"{name}{row['seconds_best']:9.3f}{row['seconds_median']:9.3f}"
          f"{row['seconds_each']:9.3f}{gflops}{row['peak_bytes'] / 1e9:8.2f}{ratios}", flush=True)


def print_load(load, cores):
    others = load.others()
    loads = " ".join(f"{x:.2f}" for x in os.getloadavg())
    warning = "; these figures are noisy" if others > 0.1 * cores else ""
    print(f"load average {loads}, others took {others:.2f} of {cores} cores{warning}",
          file=sys.stderr, flush=True)
    return others


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            names = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()


def header(a):
    dfx = subprocess.run([a.dfx, "--version"], capture_output=True, text=True, check=True)
    names = ("torch", "diffusers", "transformers", "openvino")
    versions = {"dfx": dfx.stdout.strip(), **{name: version(name) for name in names}}
    settings = {k: v if isinstance(v, (int, list)) else str(v)
                for k, v in vars(a).items() if k not in ("worker", "json")}
    return {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "processor": processor(), "versions": versions, "settings": settings,
            "load_before": os.getloadavg(), "rows": []}


def save(path, record):
    if path:
        pathlib.Path(path).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure(a):
    record = header(a)
    print(f"load average {' '.join(f'{x:.2f}' for x in os.getloadavg())} before", file=sys.stderr)
    print("part  batch  peer       dtype   best s median s   s each  GFLOP/s peak GB  time")
    for part in a.parts:
        for batch in BATCHES.get(part, a.batches):
            load = Load()
            peers = time_image(a) if part == "image" else time_part(a, part, batch)
            rows = rows_of(a, part, batch, peers)
            for row in rows:
                print_row(row)
            others = print_load(load, a.cores)
            record["rows"] += [{**row, "others_cores": others} for row in rows]
            save(a.json, record)
    record["load_after"] = os.getloadavg()
    save(a.json, record)
    return any(row["failed"] for row in record["rows"])


def counts(text):
    return [count(part) for part in text.split(",")]


def words(choices=None):
    def split(text):
        parts = text.split(",")
        if wrong := [p for p in parts if choices and p not in choices]:
            raise argparse.ArgumentTypeError(f"{wrong[0]!r} is none of {', '.join(choices)}")
        return parts
    return split


def count(text):
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return int(text)


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    p.add_argument("model", metavar="MODEL_DIR", nargs="?", help="a Diffusers folder")
    p.add_argument("--dfx", default="./dfx", help="the command (./dfx)")
    p.add_argument("--bench", help="bench_model (tests/bench/bench_model beside dfx)")
    p.add_argument("--devices", type=words(), default=["cpu", "opencl"], help="of dfx (cpu,opencl)")
    p.add_argument("--peers", type=words(["torch", "openvino"]), default=["torch", "openvino"],
                   help="of torch,openvino, where installed; all of them are in memory at once")
    p.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    p.add_argument("--size", type=count, default=512, help="side of the picture in pixels (512)")
    p.add_argument("--parts", type=words(("unet", *BATCHES)), default=["unet", "vae", "text"],
                   help="of unet,vae,text,image (unet,vae,text)")
    p.add_argument("--batches", type=counts, default=[1, 2], help="of the UNet (1,2)")
    p.add_argument("--steps", type=count, default=20, help="of the whole picture (20)")
    p.add_argument("--rounds", type=count, default=3, help="turns of each peer (3)")
    p.add_argument("--cores", type=count, default=len(os.sched_getaffinity(0)),
                   help="threads of each peer (all)")
    p.add_argument("--profile", action="store_true", help="keep the times of dfx's operators too")
    p.add_argument("--converted", metavar="DIR",
                   help="keep OpenVINO's files of MODEL_DIR here for further runs")
    p.add_argument("--json", metavar="F.json", help="keep a record of everything")
    p.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    a = p.parse_args()
    if not a.worker and not a.model:
        p.error("MODEL_DIR is missing")
    a.dfx = os.path.abspath(a.dfx)
    a.bench = a.bench or os.path.join(os.path.dirname(a.dfx), "tests/bench/bench_model")
    for program in () if a.worker else (a.dfx, a.bench):
        if not os.access(program, os.X_OK):
            p.error(f"{program}: there is no such program; `make && make bench` builds it")
    return a


def main(a):
    if a.worker:
        return work(a.worker)
    with tempfile.TemporaryDirectory() as folder:
        a.converted = a.converted or folder
        os.makedirs(a.converted, exist_ok=True)
        return measure(a)


if __name__ == "__main__":
    sys.exit(main(arguments()))
