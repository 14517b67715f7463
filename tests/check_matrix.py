#!/usr/bin/env python3
"""check_matrix.py [--only NAME,...] [--not NAME,...] [--tests TEST,...] [--icd LIBRARY]...
                [--limit SECONDS]

The tests that use an OpenCL device, once on each OpenCL implementation of this machine as the only
platform; `make check-matrix MATRIX='--only pocl'` calls it in a build folder. Exit status: 0 all pass,
1 one fails or there is no implementation.

Implementations are those that the ICD loader knows (OCL_ICD_VENDORS, else /etc/OpenCL/vendors) and
the libraries of --icd, as Intel's CPU runtime from PyPI. PoCL and Intel's CPU runtime run once more
as a small device. Oclgrind, a simulator, runs small cases and reports data races, accesses out of
bounds and what is read before it is written; each fails the run.

Tests: selftest; gpu, the selftest with the kernels for GPUs that have groups of 64 and 16 KiB of local
memory (DFX_DEVICE_LIMITS); picture, one of the smallest model with each call compared with the native
CPU, as it is and as on such a GPU (on Oclgrind only so, and nothing is compared); and programs of
tests/. --limit: of a test, 900 seconds."""
import argparse
import contextlib
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

TESTS = "selftest,gpu,picture,test_op,test_sequence,test_model,test_pipeline"
SMALL_GPU = "gpu,group=64,local={},buffer=64M"

# What runtimes can be made to say of their device.
POCL_SMALL = {"POCL_MEMORY_LIMIT": "1", "POCL_MAX_WORK_GROUP_SIZE": "256"}
INTEL_SMALL = {"CL_CONFIG_CPU_FORCE_GLOBAL_MEM_SIZE": "1GB",
               "CL_CONFIG_CPU_FORCE_MAX_MEM_ALLOC_SIZE": "256MB",
               "CL_CONFIG_CPU_FORCE_LOCAL_MEM_SIZE": "32KB"}
OCLGRIND = {"OCLGRIND_DATA_RACES": "1", "OCLGRIND_UNINITIALIZED": "1",
            # optimised code has freeze instructions, which 21.10 cannot check
            "OCLGRIND_BUILD_OPTIONS": "-cl-opt-disable",
            # it takes what is read from a part of a buffer for uninitialised
            "DFX_DEBUG": "separate"}


class Implementation:
    def __init__(self, name, library, more=None):
        self.name, self.library, self.more = name, library, more or {}
        self.is_simulator = "oclgrind" in library


def implementations(libraries):
    """Of the loader's files and of the libraries; small ones behind their whole ones."""
    vendors = os.environ.get("OCL_ICD_VENDORS", "/etc/OpenCL/vendors")
    found = []
    for icd in sorted(glob.glob(vendors + "/*.icd")) if os.path.isdir(vendors) else [vendors]:
        with open(icd, encoding="utf-8") as f:
            found.append((os.path.basename(icd)[:-4], f.readline().strip()))
    found += [(re.sub(r"^lib|\.so.*$", "", os.path.basename(path)), path) for path in libraries]
    for path in glob.glob("/usr/lib*/oclgrind/liboclgrind-rt-icd.so") + \
            glob.glob("/usr/lib/*/oclgrind/liboclgrind-rt-icd.so"):
        found.append(("oclgrind", path))
    for name, library in found:
        more = {"RUSTICL_ENABLE": os.environ.get("RUSTICL_ENABLE", "llvmpipe")} \
            if "Rusticl" in library else OCLGRIND if "oclgrind" in library else {}
        yield Implementation(name, library, more)
        if "pocl" in library:
            yield Implementation(name + "-small", library, POCL_SMALL)
        if "intelocl" in library:
            yield Implementation(name + "-small", library, INTEL_SMALL)


def call(command, environment, seconds):
    """(exit status or why there is none, output); its whole process group ends with it."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, errors="replace",
                          start_new_session=True) as p:
        try:
            out = p.communicate(timeout=seconds)[0]
            return p.returncode, out
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            return f"over {seconds:g} s", p.communicate()[0]
        except KeyboardInterrupt:
            os.killpg(p.pid, signal.SIGKILL)
            raise


def steps_of(test, room, implementation):
    """The commands of a test, each with what is added to its environment."""
    is_simulator = implementation.is_simulator
    dfx, device = os.environ.get("DFX", "./dfx"), ["--device", "opencl"]
    # rusticl 22.3 says twice the local memory that kernels have
    local = "32K" if "Rusticl" in implementation.library else "16K"
    small_gpu = {"DFX_DEVICE_LIMITS": SMALL_GPU.format(local)}
    selftest = [dfx, "selftest", *device, *(["--small"] if is_simulator else [])]
    model = os.environ.get("srcdir", ".") + "/tests/data/tiny"
    size = ["--width", "8", "--height", "8", "--steps", "1", "--guidance", "1"] if is_simulator else \
        ["--width", "64", "--height", "64", "--steps", "3"]
    picture = [dfx, "generate", "a", "--model", model, *size, *device, "--output", room + "/o.png",
               "--quiet"]
    checked = {} if is_simulator else {"DFX_DEBUG": "check"}
    if test == "selftest":
        return [(selftest, {})]
    if test == "gpu":
        return [(selftest, small_gpu)]
    if test == "picture":
        whole = [] if is_simulator else [(picture, checked)]
        return [*whole, (picture, {**checked, **small_gpu})]
    return [(["./tests/" + test], {"DFX_DEVICE": "opencl"})]


def faults_in(log):
    """Oclgrind's words, each fault of a line of a kernel once."""
    kinds = {}
    for report in re.split(r"\n\s*\n(?=\S)", log.strip()):
        kind = re.sub(r" (at|to) (\w+) memory address \w+", r" in \2 memory", report)
        kind = re.sub(r"(?m)^\s*((\w+ )?[Ee]ntity:.*|%.*|store .*|)\n?", "", kind)
        if kind.strip():
            kinds[kind] = kinds.get(kind, 0) + 1
    return [f"{n} x {kind}" for kind, n in kinds.items()]


def run_test(test, implementation, environment, room, limit):
    """(what went wrong or None, output)"""
    for command, more in steps_of(test, room, implementation):
        log = room + "/oclgrind.txt"
        with contextlib.suppress(FileNotFoundError):
            os.remove(log)
        try:
            code, out = call(command, {**environment, **more, "OCLGRIND_LOG": log}, limit)
        except OSError as e:
            return "cannot start", str(e)
        faults = []
        if implementation.is_simulator and os.path.exists(log):
            with open(log, encoding="utf-8", errors="replace") as f:
                faults = faults_in(f.read())
        if faults:
            return f"{len(faults)} faults", "\n".join(faults)
        if code != 0:
            return str(code), out
    return None, ""


def describe(environment):
    """The only device's platform and driver, or None."""
    dfx = os.environ.get("DFX", "./dfx")
    code, out = call([dfx, "devices", "--json"], environment, 60)
    devices = json.loads(out[out.index("["):]) if code == 0 and "[" in out else []
    for d in devices:
        if d["id"] == "opencl:0" and d["usable"]:
            return f"{d['platform']}, driver {d['driver']}, on {d['name'].strip()}"
    return None


def check(implementation, tests, room, limit):
    """(passed, failed), or None where it has no device."""
    icd = f"{room}/{implementation.name}"
    os.mkdir(icd)
    with open(icd + "/only.icd", "w", encoding="utf-8") as f:
        print(implementation.library, file=f)
    # ocl-icd reads the first, the Khronos loader the second
    environment = {**os.environ, **implementation.more, "OCL_ICD_VENDORS": icd,
                   "OPENCL_VENDOR_PATH": icd}
    environment.pop("OCL_ICD_FILENAMES", None)
    environment.pop("OCL_ICD_DEFAULT_PLATFORM", None)
    device = describe(environment)
    if not device:
        return None
    print(f"{implementation.name}: {device}", flush=True)
    counts = [0, 0]
    for test in tests:
        if implementation.is_simulator and test.startswith("test_"):
            continue  # they would take hours
        start = time.monotonic()
        wrong, out = run_test(test, implementation, environment, room, limit)
        seconds = time.monotonic() - start
        counts[wrong is not None] += 1
        result = "passed" if wrong is None else f"FAILED ({wrong})"
        print(f"    {test:<14} {result:<20} {seconds:6.1f} s", flush=True)
        if wrong is not None:
            print(*("      | " + line for line in out.splitlines()[-40:]), sep="\n", flush=True)
    return counts


def main():
    p = argparse.ArgumentParser(usage=__doc__.split("\n\n", maxsplit=1)[0], add_help=False)
    p.add_argument("-h", "--help", action="store_true")
    p.add_argument("--only", default="")
    p.add_argument("--not", dest="without", default="")
    p.add_argument("--tests", default=TESTS)
    p.add_argument("--icd", action="append", default=[])
    p.add_argument("--limit", type=float, default=900)
    a = p.parse_args()
    if a.help:
        print(__doc__)
        return 0
    passed = failed = found = 0
    skipped = []
    with tempfile.TemporaryDirectory(prefix="dfx-matrix.") as room:
        for i in implementations(a.icd):
            if (a.only and i.name not in a.only.split(",")) or i.name in a.without.split(","):
                skipped.append(f"{i.name} (not asked for)")
                continue
            counts = check(i, a.tests.split(","), room, a.limit)
            if not counts:
                skipped.append(f"{i.name} (no device)")
                continue
            found += 1
            passed += counts[0]
            failed += counts[1]
    print(f"{found} implementations, {passed} passed, {failed} failed" +
          (f"; skipped: {', '.join(skipped)}" if skipped else ""))
    return int(failed > 0 or found == 0)


if __name__ == "__main__":
    sys.exit(main())
