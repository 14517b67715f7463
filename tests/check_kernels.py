#!/usr/bin/env python3
"""check_kernels.py [--all] [--targets NAME,...] [--list FILE] KERNEL-FOLDER LISTER

Compiles the kernels for GPUs that need not be there, with the options that the library gives them:
LISTER (tests/list_kernels) prints these. A table has each kernel's registers by target, the most of
any of its options (AMD: vector registers; NVIDIA: registers; Intel: work-items of a thread, the
fewest). Exit status: 0 all compile and no work-item has memory in place of registers, 1 not so,
2 there is nothing to compile with.

  cl12                          the poorest device there could be: 32 bits, no extensions, and
                                warnings are errors (clang)
  gfx803 gfx906 gfx1030 gfx1100 AMD (clang, rocm-device-libs)
  sm_70 sm_86 sm_90             NVIDIA (clang, libclc, ptxas of CUDA or of nvidia-cuda-nvcc-cu12)
  skl tgllp dg2                 Intel (ocloc of intel-opencl-icd)

Without --all each kernel is compiled for all storage types, but of activations, odd sizes and heads
only those that most models have. CHECK_KERNELS_PTXAS names another ptxas."""
import argparse
import collections
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

# What may have memory in place of registers: (program, patterns of options and of targets): why.
MAY_SPILL = {
    ("linear_tiled", "-DROWS=8 -DCOLUMNS=8", "skl|tgllp|dg2"):
        "tiled_huge: its 100 registers are too many for Intel's; it runs where it measures faster",
    ("conv2d_tiled", "-DROWS=8 -DCOLUMNS=8", "skl|tgllp|dg2"): "tiled_huge: the same",
    ("attention", "-DHEAD=512", "skl"):
        "heads of 512, which VAEs have in one place: 128 bytes; tgllp and dg2 have the registers",
    ("conv2d_tiled", "-DDTYPE=1 .*-DROWS=8 -DCOLUMNS=8", "sm_.*"):
        "tiled_huge in f16: clang leaves a loop over its sums; it runs where it measures faster",
}

# Bytes that ptxas may put away for the sake of more groups on a multiprocessor: it gives kernels 32
# or 96 registers then, and the few values wait outside of their loops.
PTXAS_MAY_SPILL = 24

# Kernels that no operator launches.
BESIDE = [("gpu", "bench_memory", "-DDTYPE=0 -DGROUP=256 -DV=float4 -DLAST4=s0123"),
          ("gpu", "bench_flops", "-DDTYPE=0 -DGROUP=256 -DKIND=0 -DWIDTH=4"),
          ("gpu", "bench_flops", "-DDTYPE=0 -DGROUP=256 -DKIND=2 -DWIDTH=4"),
          ("mma", "bench_flops", "-DGROUP=256 -DDTYPE=2 -DMMA"),
          ("mma", "probe_mma", "-DDTYPE=2 -DWARPS_X=1 -DWARPS_Y=1 -DBLOCKS=1 -DSTAGES=2"),
          ("x86", "probe", "-DDTYPE=2 -DROWS=8 -DPAIRS")]  # no target: PoCL compiles it

STANDARD = ["-cl-std=CL1.2", "-cl-mad-enable"]
FRONT = ["-x", "cl", *STANDARD, "-Xclang", "-finclude-default-header"]


class Failed(Exception):
    pass


def run(*command):
    r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       errors="replace", timeout=300)
    if r.returncode:
        raise Failed("\n".join(r.stdout.strip().splitlines()[:6]))
    return r.stdout


def first(*patterns):
    """The first program or file that there is of these names and patterns, or None."""
    for pattern in patterns:
        found = sorted(glob.glob(pattern)) if "/" in pattern else [shutil.which(pattern)]
        if found and found[0]:
            return found[0]
    return None


CLANG = first(*(f"clang-{n}" for n in range(20, 14, -1)), "clang")
OCLOC = first("ocloc")
AMD_LIBS = first("/usr/lib/*/amdgcn/bitcode", "/opt/rocm*/amdgcn/bitcode")
NVIDIA_LIB = first("/usr/lib/clc/nvptx64--nvidiacl.bc")
PTXAS = first(os.environ.get("CHECK_KERNELS_PTXAS", "ptxas"), "/usr/local/cuda*/bin/ptxas",
              sys.prefix + "/lib/python3*/site-packages/nvidia/*/bin/ptxas")


def source_of(folder, program):
    """What lib/device/cl_program.c compiles: common.cl, then the file with what it includes."""
    def text(name):
        with open(f"{folder}/{name}.cl", encoding="ascii") as f:
            return re.sub(r'(?m)^#include "(\w+)\.cl"\n', lambda m: text(m.group(1)), f.read())
    return text("common") + text(program)


def strict(target, source, options, room):
    run(CLANG, *FRONT, "--target=spir", "-fsyntax-only", "-Xclang", "-cl-ext=-all", "-Wall",
        "-Wextra", "-Wno-unused-function",
        "-Wno-unused-parameter", "-Werror", *options, source)
    return [("*", None, 0)]


def amd(target, source, options, room):
    libraries = room + "/amdgcn/bitcode"
    os.makedirs(libraries)
    for f in glob.glob(AMD_LIBS + "/*.bc"):
        os.symlink(f, f"{libraries}/{os.path.basename(f)}")
    isa = f"{libraries}/oclc_isa_version_{target[3:]}.bc"
    if not os.path.exists(isa):  # of before gfx1100
        os.symlink(f"{AMD_LIBS}/oclc_isa_version_1036.bc", isa)
    out = run(CLANG, *FRONT, "--target=amdgcn-amd-amdhsa", "-mcpu=" + target, "-O3", "-w",
              "-mcode-object-version=5", "--rocm-device-lib-path=" + libraries, "-S", "-o", "-",
              *options, source)
    rows = []
    for block in re.split(r"\n  - (?=\.)", out.partition("amdhsa.kernels:")[2])[1:]:
        v = dict(re.findall(r"^ *\.(name|vgpr_count|private_segment_fixed_size): +(\S+)",
                            re.sub(r"(?m)^      .*", "", block), re.M))
        rows.append((v["name"], int(v["vgpr_count"]), int(v["private_segment_fixed_size"])))
    return rows


def nvidia(target, source, options, room):
    front = ["-march=sm_80", "-Xclang", "-target-feature", "-Xclang", "+ptx70"] \
        if "WARPS" in " ".join(options) or "-DMMA" in options else ["-march=sm_70"]
    ptx = run(CLANG, *FRONT, "--target=nvptx64-nvidia-nvcl", *front, "-O3", "-w", "-Xclang",
              "-mlink-builtin-bitcode", "-Xclang", NVIDIA_LIB, "-S", "-o", "-", *options, source)
    # clang does not pass the size of groups on; without it ptxas may use too many registers
    items = group_sizes(source, options)
    for kernel, size in items.items():
        ptx = re.sub(rf"(\.entry {kernel}\(.*?\n\))", rf"\1\n.reqntid {size}", ptx, flags=re.S)
    with open(room + "/k.ptx", "w", encoding="utf-8") as f:
        f.write(ptx)
    rows = []
    out = run(PTXAS, "-v", "-arch=" + target, "-o", os.devnull, room + "/k.ptx")
    for block in out.split("Compiling entry function '")[1:]:
        def number(pattern):
            found = re.search(rf"(\d+) {pattern}", block)
            return int(found.group(1)) if found else 0
        spills = max(number("bytes stack"), number("bytes spill stores"))
        rows.append((block[:block.index("'")], number("registers"), spills))
    return rows


def group_sizes(source, options):
    """{kernel: "x, y, z"} as WORK_GROUP says."""
    out = run(CLANG, *FRONT, "--target=spir64", "-E", "-P", *options, source)
    found = re.findall(r"reqd_work_group_size\(([\d\s(),*]+)\)\)\)\s*void\s+(\w+)", out)
    return {name: ", ".join(str(n) for n in eval(f"({sizes})")) for sizes, name in found}  # products


def intel(target, source, options, room):
    run(OCLOC, "compile", "-q", "-file", source, "-device", target, "--format", "zebin", "-out_dir",
        room, "-options", " ".join([*STANDARD, *options]))
    with open(glob.glob(room + "/*.bin")[0], "rb") as f:
        info = re.search(rb"---\nversion:.*?\nkernels:\n(.*?)(\nkernels_misc_info|\n\.\.\.)",
                         f.read(), re.S).group(1).decode()
    rows = []
    for block in re.split(r"(?m)^  - name: +", info)[1:]:
        simd = int(re.search(r"simd_size: +(\d+)", block).group(1))
        spills = 0
        memory = block.partition("per_thread_memory_buffers:")[2]
        for part in re.split(r"(?m)^      - type:", memory)[1:]:
            size = int(re.search(r"size: +(\d+)", part).group(1))
            spills += size if "is_simt_thread:  true" in part else size // simd
        rows.append((block.split()[0], simd, spills))
    return rows


def ptxas_knows(target):
    """Tried with an empty program: its help names targets that it has given up, too."""
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as f:
        f.write(".version 6.0\n.target sm_30\n.address_size 64\n")
        f.flush()
        try:
            return bool(PTXAS) and run(PTXAS, "-arch=" + target, "-o", os.devnull, f.name) is not None
        except Failed:
            return False


def targets():
    """{target: (compiler, what is missing for it or None)}"""
    clang = None if CLANG else "clang"
    found = {"cl12": (strict, clang)}
    for t in "gfx803 gfx906 gfx1030 gfx1100".split():
        found[t] = (amd, clang or (None if AMD_LIBS else "rocm-device-libs"))
    for t in "sm_70 sm_86 sm_90".split():
        lack = None if NVIDIA_LIB else "libclc"
        lack = lack or (None if ptxas_knows(t) else "a ptxas that knows it")
        found[t] = (nvidia, clang or lack)
    for t in "skl tgllp dg2".split():
        found[t] = (intel, None if OCLOC else "intel-opencl-icd")
    return found


def takes(profile, target):
    """Whether what a profile compiles is for that target."""
    if profile == "cpu":
        return target == "cl12"
    if profile == "mma":
        return target in ("sm_86", "sm_90")
    return profile != "x86"


def is_usual(program, options):
    """What --all adds to: other activations, unaligned rows, odd heads."""
    if re.search("-DACTIVATION=[123]", options):
        return False
    head = re.search(r"-DHEAD=(\d+)", options)
    if head:
        return int(head.group(1)) in (40, 64, 160, 512)
    tiled = program.endswith("_tiled")
    return not tiled or "-DALIGNED" in options


def jobs_of(lines, every):
    """{(program, options): profiles}"""
    jobs = collections.defaultdict(set)
    for profile, program, options in lines + BESIDE:
        if every or is_usual(program, options):
            jobs[program, options].add(profile)
    return jobs


def main():
    p = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0], add_help=False)
    p.add_argument("-h", "--help", action="store_true")
    p.add_argument("--all", action="store_true")
    p.add_argument("--targets")
    p.add_argument("folder", nargs="?")
    p.add_argument("lister", nargs="?")
    a = p.parse_args()
    if a.help:
        print(__doc__)
        return 0
    if not a.lister:
        p.error("no folder of kernels and no lister")
    known = targets()
    wanted = a.targets.split(",") if a.targets else list(known)
    if unknown := set(wanted) - set(known):
        p.error(f"no target {' '.join(unknown)}; there are: {' '.join(known)}")
    usable = [t for t in wanted if not known[t][1]]
    for t in wanted:
        if known[t][1]:
            print(f"skipped: {t}, for want of {known[t][1]}")
    if not usable:
        return 2
    lines = [(w[0], w[1], " ".join(w[3:])) for w in map(str.split, run(a.lister).splitlines())]
    jobs = jobs_of(sorted(set(lines)), a.all)
    return check(a.folder, jobs, usable, known)


def check(folder, jobs, usable, known):
    most = collections.defaultdict(dict)  # (program, kernel): {target: registers}
    bad = []
    counts = collections.Counter(program for program, _ in jobs)
    with tempfile.TemporaryDirectory() as room:
        sources = {}
        for program in counts:
            sources[program] = f"{room}/{program}.cl"
            with open(sources[program], "w", encoding="ascii") as f:
                f.write(source_of(folder, program))

        def compile_one(job):
            (program, options), target = job
            with tempfile.TemporaryDirectory(dir=room) as inner:
                try:
                    return known[target][0](target, sources[program], options.split(), inner), None
                except (Failed, subprocess.TimeoutExpired) as e:
                    return [], str(e).replace(room, "")

        work = [(job, t) for job, profiles in jobs.items() for t in usable
                if any(takes(profile, t) for profile in profiles)]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(compile_one, work))
    excused = set()
    for ((program, options), target), (rows, error) in zip(work, results):
        if error is not None:
            bad.append(f"{program}.cl for {target} does not compile ({options}):\n{error}")
        for kernel, registers, spills in rows:
            has = most[program, kernel].get(target)
            fewest = known[target][0] is intel
            most[program, kernel][target] = registers if has is None or registers is None else \
                min(has, registers) if fewest else max(has, registers)
            if spills > (PTXAS_MAY_SPILL if known[target][0] is nvidia else 0):
                why = [w for (name, pattern, where), w in MAY_SPILL.items() if name == program and
                       re.search(pattern, options) and re.fullmatch(where, target)]
                excused.update(f"{program} on {target}: {w}" for w in why)
                if not why:
                    bad.append(f"{kernel} of {program}.cl for {target} has {spills} bytes of memory "
                               f"in place of registers ({options})")
    show(most, counts, [t for t in usable if t != "cl12"])
    for line in sorted(excused):
        print("may spill:", line)
    missing = {os.path.basename(f)[:-3] for f in glob.glob(folder + "/*.cl")
               if "WORK_GROUP(" in open(f, encoding="ascii").read()} - set(counts) - {"common"}
    bad += [f"{name}.cl is compiled by no case" for name in sorted(missing)]
    for line in bad:
        print("FAILED:", line)
    print(f"{len(work)} compilations of {len(counts)} programs with {len(jobs)} sets of options for "
          f"{len(usable)} targets: {len(bad)} failed")
    return bool(bad)


def show(most, counts, columns):
    print(f"{'kernel':<20} {'options':>7}  " + " ".join(f"{t:>7}" for t in columns))
    for (program, kernel), by in sorted(most.items()):
        if kernel != "*":
            print(f"{kernel:<20} {counts[program]:>7}  " +
                  " ".join(f"{by.get(t) or '-':>7}" for t in columns))


if __name__ == "__main__":
    sys.exit(main())
