"""What the classes' cases share: pseudo numbers, a run of a scheduler, and the file's layout.

Case NNN of a class has
  "NNN.config"     the scheduler_config.json, a newline, the call's settings as "key=value,..."
  "NNN.timesteps"  and "NNN.sigmas": custom lists, where the case passes them to set_timesteps
  "NNN.counts"     [k, 3]: for each n that works n, the calls and the sigmas
  "NNN.values"     f32: for each n the timesteps, the sigmas, init_noise_sigma and the sample after
                   the last step; then, for the largest n up to TRACE, the sample after each step,
                   and of the first sample at the middle call scale_model_input and add_noise (NaN
                   where the class has none)
Samples are [2, 3, 2, 2]; they, the model's outputs and the noise come from pseudo(), as in
test_scheduler.c.
"""

import contextlib
import dataclasses
import importlib
import inspect
import json
import pathlib
import pkgutil
import typing
import warnings

import diffusers
import numpy as np
import torch
from safetensors.numpy import save_file

warnings.filterwarnings("ignore")
diffusers.utils.logging.set_verbosity_error()

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "data" / "schedulers"
SHAPE = (2, 3, 2, 2)
STEPS = (1, 2, 5, 7, 20, 33, 50)
TRACE = 7
GENERATOR_SEED = 2**33 + 7
LISTS = ("timesteps", "sigmas", "num_inference_steps")  # of set_timesteps, with a list of its own
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SPACINGS = ("linspace", "leading", "trailing")
RAMPS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
TRAINED = {"num_train_timesteps": 100,
           "trained_betas": [round(b, 4) for b in np.linspace(0.001, 0.05, 100).tolist()]}
ZERO_SNR = dict(SD, rescale_betas_zero_snr=True, prediction_type="v_prediction",
                timestep_spacing="trailing")


def pseudo(stream, index, shape=SHAPE):
    """Floats with 16 bits in -1..1: exact in f32, the same in Python and in C."""
    k = np.arange(np.prod(shape), dtype=np.uint32)
    with np.errstate(over="ignore"):
        h = k * np.uint32(2654435761) + np.uint32(stream * 40503 % 2**32) * np.uint32(index + 1)
        h ^= h >> np.uint32(15)
        h *= np.uint32(2246822519)
        h ^= h >> np.uint32(13)
    return torch.from_numpy((h & np.uint32(0xFFFF)).astype(np.float32) / 32768 - 1).reshape(shape)


def sample():
    return pseudo(1, 0) * 2


def output(i, parts=1):
    """A model's output: mostly the same at each call, as those of a real model are. With 2 parts
    a variance, which is never below 0, follows the channels."""
    mean = pseudo(2, 0) + pseudo(3, i) / 8
    return mean if parts == 1 else torch.cat([mean, pseudo(100, i).abs()], dim=1)


class Noise:
    """Stands for randn_tensor in every scheduler's module: draw k of call i is pseudo(4 + k, i)."""

    def __init__(self):
        self.start(0)
        for name in [m.name for m in pkgutil.iter_modules(diffusers.schedulers.__path__)]:
            module = importlib.import_module("diffusers.schedulers." + name)
            if hasattr(module, "randn_tensor"):
                module.randn_tensor = self

    def start(self, call):
        self.call, self.drawn = call, 0

    def __call__(self, shape, *args, **kwargs):
        self.drawn += 1
        return pseudo(3 + self.drawn, self.call, tuple(shape))


@dataclasses.dataclass
class Case:
    """A configuration split by where diffusers takes it."""

    name: str
    own: dict  # of the constructor
    plan: dict  # of set_timesteps
    step: dict  # of step

    def make(self):
        return getattr(diffusers, self.name).from_config(dict(self.own, _class_name=self.name))

    def prepare(self, scheduler, n, begin=0):
        custom = "timesteps" in self.plan or "sigmas" in self.plan
        scheduler.set_timesteps(**({} if custom else {"num_inference_steps": n}), **self.plan)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)

    def parts(self):
        """DDPM takes a learned variance; the solvers drop it, and look for it with epsilon only."""
        learned = self.own.get("variance_type") in ("learned", "learned_range")
        epsilon = self.own.get("prediction_type", "epsilon") == "epsilon"
        return 2 if learned and (epsilon or self.name.startswith("DDPM")) else 1


def run_steps(scheduler, case, draw, dtype=torch.float32):
    """The sample after each step."""
    x, samples = sample().to(dtype), []
    for i, t in enumerate(scheduler.timesteps):
        draw.start(i)
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(x, t)
        x = scheduler.step(output(i, case.parts()).to(dtype), t, x, **case.step).prev_sample
        samples.append(x)
    return samples


def run_seeded(scheduler, case, draw):
    """The same for schedulers that seed their noise from the global generator or from step's."""
    torch.manual_seed(GENERATOR_SEED)
    if "generator" in inspect.signature(scheduler.step).parameters:
        generator = torch.Generator().manual_seed(GENERATOR_SEED)
        case = dataclasses.replace(case, step=dict(case.step, generator=generator))
    return run_steps(scheduler, case, draw)


def run_levels(scheduler, case, n):
    """The first sample scaled and noised as at the middle call."""
    case.prepare(scheduler, n)
    middle = len(scheduler.timesteps) // 2
    case.prepare(scheduler, n, middle)
    t = scheduler.timesteps[middle]
    scaled = noised = torch.full(SHAPE, float("nan"))
    if hasattr(scheduler, "add_noise"):
        whole = not hasattr(scheduler, "set_begin_index")
        noised = scheduler.add_noise(sample(), pseudo(4, 0), t[None].long() if whole else t[None])
    elif hasattr(scheduler, "scale_noise"):
        noised = scheduler.scale_noise(sample(), t[None], pseudo(4, 0))
    if hasattr(scheduler, "scale_model_input"):
        scaled = scheduler.scale_model_input(sample(), t)
    else:
        scaled = sample()
    return [scaled, noised]


@contextlib.contextmanager
def exact_roots():
    """Gives torch's f32 square roots, logarithms and exponentials their nearest values. Its own
    depend on the build: with MKL a sixth of the square roots is one ulp off, a twentieth of the
    logarithms. That matters where a scheduler subtracts nearly equal numbers, or asks for
    Brownian motion at a computed time."""
    def exact(f):
        def run(x, *args):
            is_f32 = torch.is_tensor(x) and x.dtype == torch.float32
            return f(x.double(), *args).float() if is_f32 else f(x, *args)
        return run
    names = ("sqrt", "log", "exp", "__pow__")
    kept = [(o, n, getattr(o, n)) for o in (torch, torch.Tensor) for n in names if hasattr(o, n)]
    for owner, name, f in kept:
        setattr(owner, name, exact(f))
    yield
    for owner, name, f in kept:
        setattr(owner, name, f)


def no_noise(scheduler, case, n):
    """The levels of a class without add_noise, which takes the sample as it is."""
    return [sample(), torch.full(SHAPE, float("nan"))]


@dataclasses.dataclass
class Class:
    """How a class is recorded.

    cases   a function that gives dicts of the constructor's, set_timesteps's and step's arguments
    steps   the sample after each step: run_steps, or the class's own way
    levels  run_levels, or the class's own way
    sigmas  the sigmas of a scheduler whose set_timesteps has run
    times   the timesteps of its calls of the model
    extra   adds tensors of its own to the file
    exact   runs with exact_roots
    """

    cases: typing.Callable
    steps: typing.Callable = run_steps
    levels: typing.Callable = run_levels
    sigmas: typing.Callable = lambda scheduler: getattr(scheduler, "sigmas", torch.zeros(0))
    times: typing.Callable = lambda scheduler: scheduler.timesteps
    extra: typing.Callable = lambda tensors: None
    exact: bool = False


def split(name, config):
    cls = getattr(diffusers, name)
    own = inspect.signature(cls.__init__).parameters
    plan = inspect.signature(cls.set_timesteps).parameters
    step = inspect.signature(cls.step).parameters if hasattr(cls, "step") else {}
    case = Case(name, {}, {}, {})
    for key, value in config.items():
        call = key not in own  # what no signature has is the file's: from_config keeps it as well
        where = case.plan if call and key in plan else case.step if call and key in step else case.own
        where[key] = value
    return case


def counts_of(case):
    """The numbers of steps; with custom lists there is one, which counts the longer list."""
    lists = [case.plan[k] for k in ("timesteps", "sigmas") if k in case.plan]
    return (max(map(len, lists)),) if lists else STEPS


def add_case(tensors, number, how, case):
    draw, counts, values, traced = Noise(), [], [], []
    for n in counts_of(case):
        scheduler = case.make()
        if n > scheduler.config.num_train_timesteps:
            continue
        try:
            case.prepare(scheduler, n)
            samples = how.steps(scheduler, case, draw)
            if not samples[-1].isfinite().all():
                raise ValueError("the sample is not finite")
            levels = how.levels(scheduler, case, n) if n <= TRACE or not traced else []
        except (IndexError, RecursionError, ValueError) as e:
            print(f"{case.name} {number:03d}, {n} steps left out: {e}")
            continue
        sigmas, times = how.sigmas(scheduler), how.times(scheduler)
        counts.append((n, len(times), len(sigmas)))
        initial = torch.tensor([float(getattr(scheduler, "init_noise_sigma", 1))])
        values += [times, sigmas, initial, samples[-1]]
        if n <= TRACE or not traced:
            traced = samples + levels
    if not counts:
        raise ValueError(f"{case.name} {number:03d} runs with no number of steps: {case}")
    call = {k: v for k, v in (case.plan | case.step).items() if k not in LISTS}
    text = json.dumps(dict(case.own, _class_name=case.name)) + "\n"
    text += ",".join(f"{k}={json.dumps(v)}" for k, v in call.items())
    tensors[f"{number:03d}.config"] = np.frombuffer(text.encode(), np.uint8)
    for key in ("timesteps", "sigmas"):
        if key in case.plan:
            tensors[f"{number:03d}.{key}"] = np.array(case.plan[key], np.float32)
    tensors[f"{number:03d}.counts"] = np.array(counts, np.int32)
    tensors[f"{number:03d}.values"] = np.concatenate(
        [v.to(torch.float32).flatten().numpy() for v in values + traced])


def make(name, how):
    tensors = {}
    with exact_roots() if how.exact else contextlib.nullcontext():
        for number, config in enumerate(how.cases()):
            add_case(tensors, number, how, split(name, config))
    how.extra(tensors)
    FOLDER.mkdir(exist_ok=True)
    save_file(tensors, FOLDER / f"{name}.safetensors")
