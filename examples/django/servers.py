# SPDX-License-Identifier: Apache-2.0
"""The parts of a run of the shop: a folder, a database, and a web server with pre-forked workers.

All of it is started here, listens on the loopback or in the folder, and is stopped by its own pid.
"""

import contextlib
import glob
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import lockbyfile

HERE = pathlib.Path(__file__).resolve().parent
WORKERS = 4
BACKLOG = 2048


@contextlib.contextmanager
def running(command, log, **options):
    """A server, which ends with this process at the latest; its output goes to `log`."""
    command = ["setpriv", "--pdeathsig=INT", *command]
    with open(log, "ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)  # uwsgi, gunicorn and PostgreSQL: stop now
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(event, process, log):
    """Waits for the event, unless the server that is to bring it about has ended."""
    end = time.monotonic() + 60
    while not (found := event()):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the server did not start:\n{pathlib.Path(log).read_text()}")
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def folder():
    """In memory if possible: a run is about the lock, not about the disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="shop-", dir=memory) as name:
        os.chmod(name, 0o711)  # PostgreSQL does not run as root, and has to pass
        yield pathlib.Path(name)


@contextlib.contextmanager
def database(engine, data):
    """Its tables are made, and the environment that the shop needs to find it is told."""
    environment = {**os.environ, "SHOP_DATABASE": engine, "SHOP_DATA": str(data)}
    package = pathlib.Path(lockbyfile.__file__).absolute().parent  # wherever it is, as here
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), str(package.parent)])
    with postgresql(data) if engine == "postgresql" else contextlib.nullcontext():
        subprocess.run(
            [sys.executable, HERE / "manage.py", "migrate", "--verbosity=0"],
            env=environment,
            check=True,
        )
        yield environment


@contextlib.contextmanager
def postgresql(data):
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4]))
    if not programs:
        raise RuntimeError("PostgreSQL is not installed")
    cluster = data / "postgresql"
    cluster.mkdir()
    user = None
    if os.getuid() == 0:  # as whom it refuses to run
        user = pwd.getpwnam("postgres").pw_name
        shutil.chown(cluster, user)
    options = {"user": user, "group": user, "extra_groups": [], "cwd": "/"}
    log = data / "postgresql.log"
    subprocess.run(
        [f"{programs[-1]}/initdb", "--username=shop", "--auth=trust", "--no-sync", cluster / "db"],
        check=True,
        stdout=subprocess.DEVNULL,
        **options,
    )
    command = [f"{programs[-1]}/postgres", "-D", cluster / "db", "-k", cluster]
    command += ["-c", "listen_addresses=", "-c", "fsync=off"]
    with running(command, log, **options) as process:
        end = cluster / ".s.PGSQL.5432"
        until(end.exists, process, log)
        (data / ".s.PGSQL.5432").symlink_to(end)
        yield


def uwsgi(listening):
    return [
        "uwsgi",
        f"--http-socket=fd://{listening}",
        "--plugin=python3",
        "--module=shop.wsgi",
        "--master",
        f"--processes={WORKERS}",
        f"--listen={BACKLOG}",
        "--single-interpreter",
        "--need-app",
        "--disable-logging",
    ]


def gunicorn(listening):
    return [
        "gunicorn",
        f"--bind=fd://{listening}",
        "--preload",
        f"--workers={WORKERS}",
        "shop.wsgi",
    ]


SERVERS = {"uwsgi": uwsgi, "gunicorn": gunicorn}


@contextlib.contextmanager
def server(kind, data, environment, **more):
    """The address of the shop, once it answers."""
    log = data / f"{kind}.log"
    with contextlib.ExitStack() as stack:
        with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listening:
            listening.set_inheritable(True)
            url = "http://127.0.0.1:%d" % listening.getsockname()[1]
            process = stack.enter_context(
                running(
                    SERVERS[kind](listening.fileno()),
                    log,
                    env={**environment, **more},
                    cwd=HERE,
                    pass_fds=[listening.fileno()],
                )
            )
        until(lambda: answers(url), process, log)
        yield url


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=60):
            return True
    except OSError:
        return False
