"""The floors of the house: an include may only point down, and the headers of C libraries stay
inside the floor that wraps them.

Usage: include_direction.py ROOT      checks the sources below ROOT
       include_direction.py --self-test   proves that each kind of violation is found"""

import pathlib
import re
import sys
import tempfile

# Each floor and the floors it may include, besides itself. tests/ may include everything.
FLOORS = {
    "base": set(),
    "configs": {"base"},
    "comm": {"base"},
    "data": {"base"},
    "checkpoints": {"base"},
    "trainer": {"base", "configs", "comm", "data", "checkpoints"},
    "jobs": {"base", "configs", "comm", "data", "checkpoints", "trainer"},
    "launcher": {"base", "configs", "comm", "data", "checkpoints", "trainer", "jobs"},
}

# Headers of C libraries: which floor may include them, and only in its sources.
WRAPPED = {
    r"mpi\.h": {"comm"},
    r"nccl\.h": {"comm", "trainer"},
    r"(cuda|cuda_runtime|cuda_runtime_api|cublas\w*|cudnn)\.h": {"comm", "trainer"},
    r"hdf5(_hl)?\.h|H5\w+\.h": {"data", "jobs"},
    r"openssl/.*|xxhash\.h": {"base"},
    r"hwloc(/.*)?\.h": {"comm"},
}
# fmt exists twice (Debian's and the one in the wheel): a header must not decide which.
SOURCES_ONLY = re.compile(r"(fmt|spdlog)/.*")
TORCH = re.compile(r"(torch|ATen|c10)/.*")
TORCH_FLOORS = {"trainer", "jobs"}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
KINDS = {".hpp", ".h", ".cpp", ".cc", ".cu", ".cuh"}
HEADERS = {".hpp", ".h", ".cuh"}


def includes_of(text):
    """(line number, what is included) of each include in a file."""
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1)


def problem_with(name, included):
    """Why the file `name` may not include `included`; nothing when it may."""
    floor, file = name.split("/", 1)
    header = pathlib.PurePath(name).suffix in HEADERS
    top = included.split("/")[0]
    if included.startswith(".."):
        return "includes start at the root"
    if top == "tests":
        return "sources do not stand on tests"
    if top in FLOORS and top != floor and top not in FLOORS[floor]:
        return f"{floor}/ may include {', '.join(sorted(FLOORS[floor])) or 'nothing'}"
    for pattern, floors in WRAPPED.items():
        if re.fullmatch(pattern, included) and floor not in floors:
            return f"wrapped by {', '.join(sorted(floors))}/ alone"
    if SOURCES_ONLY.fullmatch(included) and header:
        return "only in source files"
    # The worker sees every floor, torch's too; its files say so by their name.
    worker = floor == "launcher" and file.startswith("worker")
    if TORCH.fullmatch(included) and floor not in TORCH_FLOORS and not worker:
        return f"torch lives in {', '.join(sorted(TORCH_FLOORS))}/"
    return None


def private_headers(includes):
    """Headers that bring a C library's header along: their own floor's business."""
    private = set()
    while True:
        more = {name for name, lines in includes.items()
                if pathlib.PurePath(name).suffix in HEADERS and name not in private
                and any(included in private or any(re.fullmatch(pattern, included)
                                                   for pattern in WRAPPED)
                        for _, included in lines)}
        if not more:
            return private
        private |= more


def installed_headers(root, floor):
    """The headers that a floor's CMakeLists.txt gives to the world."""
    lists = root / floor / "CMakeLists.txt"
    text = lists.read_text() if lists.exists() else ""
    for block in re.findall(r"\bHEADERS\b([^)]*?)(?:PUBLIC|PRIVATE|\))", text):
        yield from (f"{floor}/{name}" for name in block.split())


def check(root):
    """All problems below `root`, and how many files were looked at."""
    includes = {}
    for floor in FLOORS:
        for path in sorted((root / floor).rglob("*")):
            if path.suffix in KINDS and path.is_file():
                text = path.read_text(encoding="utf-8", errors="replace")
                includes[path.relative_to(root).as_posix()] = list(includes_of(text))

    problems = []
    private = private_headers(includes)
    for name, lines in includes.items():
        for number, included in lines:
            problem = problem_with(name, included)
            if included in private and included.split("/")[0] != name.split("/")[0]:
                problem = "brings a C library's header into another floor"
            if problem:
                problems.append(f"{name}:{number}: '{included}' ({problem})")
    for floor in FLOORS:
        for name in installed_headers(root, floor):
            if name in private:
                problems.append(f"{name}: installed, but it includes a C library's header")
    return problems, len(includes)


def self_test():
    bad = {
        "base/a.cpp": '#include "comm/communicator.hpp"',
        "data/a.cpp": '#include "checkpoints/ledger.hpp"',
        "checkpoints/a.hpp": '#include "data/loader.hpp"',
        "comm/b.cpp": '#include "configs/run_config.hpp"',
        "checkpoints/b.cpp": "  #  include <hdf5.h>",
        "data/c.cpp": "#include <torch/torch.h>",
        "configs/a.hpp": "#include <fmt/format.h>",
        "launcher/a.cpp": "#include <mpi.h>",
        "trainer/a.cpp": '#include "launcher/verdict.hpp"',
        "comm/d.cpp": '#include "tests/support/x.hpp"',
        "comm/e.cpp": '#include "../base/error.hpp"',
        "launcher/b.cpp": "#include <ATen/ATen.h>",
        "launcher/c.cpp": "#include <hwloc.h>",
        # Behind two headers of its own floor, mpi.h still reaches another one.
        "comm/wrapper.hpp": "//\n#include <mpi.h>",
        "comm/outer.hpp": '#include "comm/wrapper.hpp"',
        "trainer/b.cpp": '#include "comm/outer.hpp"',
        "data/handle.hpp": "#include <hdf5.h>",
    }
    innocent = {"comm/wrapper.hpp", "comm/outer.hpp"}
    lists = {"data/CMakeLists.txt": "lockstep_floor(data HEADERS x.hpp handle.hpp PUBLIC base)"}
    good = {
        "base/a.hpp": "#include <string>\n// #include <mpi.h>",
        "comm/a.cpp": "#include <mpi.h>\n#include \"base/error.hpp\"",
        "data/a.cpp": '#include "data/handle.hpp"\n#include <fmt/format.h>',
        "data/handle.hpp": "#include <hdf5.h>",
        "trainer/a.hpp": '#include <torch/torch.h>\n#include "data/loader.hpp"',
        "launcher/worker_main.cpp": '#include <ATen/Parallel.h>\n#include "trainer/trainer.hpp"',
    }
    for files, more, wanted in ((bad, lists, set(bad) - innocent), (good, {}, set())):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**files, **more}.items():
                (root / name).parent.mkdir(exist_ok=True)
                (root / name).write_text(text + "\n")
            problems, count = check(root)
        found = {text.split(":")[0] for text in problems}
        if count != len(files) or found != wanted:
            sys.exit(f"in {count} files, missed: {sorted(wanted - found)}, "
                     f"found without need: {sorted(found - wanted)}")
    print(f"found all of {len(bad) - len(innocent)} violations, and nothing else")


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    problems, files = check(pathlib.Path(sys.argv[1]))
    if problems or files == 0:
        sys.exit("\n".join(problems) or f"no sources below '{sys.argv[1]}' (wrong folder?)")
    print(f"{files} files point down")


main()
