# SPDX-License-Identifier: Apache-2.0
"""Builds the binding with the project's own CMake, so that its sources are listed once."""

import os
import pathlib
import subprocess
import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = pathlib.Path(__file__).resolve().parent.parent


class BuildByCMake(build_ext):
    def build_extension(self, ext: Extension) -> None:
        build = pathlib.Path(self.build_temp).resolve()
        target = pathlib.Path(self.get_ext_fullpath(ext.name)).resolve()
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or str(len(os.sched_getaffinity(0)))
        subprocess.run(
            [
                "cmake",
                "-S",
                str(ROOT),
                "-B",
                str(build),
                "-DCMAKE_BUILD_TYPE=Release",
                "-DLOCKBYFILE_PYTHON_ONLY=ON",
                f"-DPython3_EXECUTABLE={sys.executable}",
            ],
            check=True,
        )
        subprocess.run(
            # A bare --parallel starts a compiler for every source at once with make.
            ["cmake", "--build", str(build), "--target", "lockbyfile_python", "--parallel", jobs],
            check=True,
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((build / "python" / "lockbyfile" / target.name).read_bytes())
        target.chmod(0o755)
        engine = build / "lockbyfile-etcd-engine.so"  # where there is gRPC (src/etcd)
        if engine.exists():
            (target.parent / engine.name).write_bytes(engine.read_bytes())


setup(
    ext_modules=[Extension("lockbyfile._lockbyfile", sources=[])],
    cmdclass={"build_ext": BuildByCMake},
)
