# SPDX-License-Identifier: Apache-2.0
"""The Debian package in a copy of this system that nobody else sees, and the container image's file
system as a root of its own: both install, start, answer and go. Root only, without a daemon."""

import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import time

import pytest

from support import amqp

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGE = ROOT / "build" / "image"
IMAGE_BYTES_MAX = 20 * 1000 * 1000
EXPOSURE_MAX = 2.0
USER = """
users:
  admin:
    auth: password
    password-file: admin.password
    rights: {configure: ".*", write: ".*", read: ".*"}
"""


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=120, **options)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def package():
    return next((ROOT / "build" / "deb").glob("bourse_*.deb"))


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, chroot, device files")


# -- the package

def fields():
    text = run("dpkg-deb", "--field", package())
    return dict(re.findall(r"^([A-Z][A-Za-z-]+): (.*)$", text, re.MULTILINE))


def test_the_package_depends_on_what_serve_is_linked_with():
    depends = {name.split()[0] for name in fields()["Depends"].split(", ")}
    assert {"libc6", "libssl3", "libyaml-0-2", "libpcre2-8-0"} <= depends
    assert not depends & {"libcurl4", "libsmartcols1"}
    assert "libcurl4" in fields()["Recommends"]


def test_the_packaged_configuration_has_no_error():
    checked = subprocess.run([ROOT / "build" / "bourse", "check", ROOT / "packaging" / "bourse.yaml"],
                             capture_output=True, text=True, timeout=20)
    assert checked.returncode == 0, checked.stderr


# Exposure as systemd counts it, from 0 (nothing) to 10.
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_the_unit_is_hardened():
    text = run("systemd-analyze", "security", "--offline=yes", "--no-pager",
               ROOT / "packaging" / "systemd" / "bourse.service")
    exposure = float(re.search(r"Overall exposure level for bourse.service: ([0-9.]+)", text)[1])
    assert exposure <= EXPOSURE_MAX


class Copy:
    """This system, with changes that stay in a folder of ours and in a mount namespace of ours."""

    def __init__(self, folder):
        self.upper, self.merged = folder / "upper", folder / "merged"
        for path in (self.upper, folder / "work", self.merged):
            path.mkdir()
        # On a file system of its own: an overlay does not lie on another.
        self.script = (
            f"mount -t tmpfs none {folder} && mkdir -p {self.upper} {folder}/work {self.merged} && "
            f"mount -t overlay overlay -o lowerdir=/,upperdir={self.upper},workdir={folder}/work "
            f"{self.merged} && exec chroot {self.merged} /bin/sh -eu -c ")

    def run(self, commands):
        return subprocess.run(["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c",
                               self.script + "'" + commands + "'"],
                              capture_output=True, text=True, timeout=120)


@pytest.fixture
def copy(tmp_path):
    made = Copy(tmp_path)
    tried = made.run("true")
    if tried.returncode != 0:
        pytest.skip(f"no overlay of this system can be mounted here: {tried.stderr.strip()}")
    return made


@root_only
def test_the_package_installs_and_leaves_only_data_behind(copy):
    done = copy.run(f"""
        dpkg --install {package()}
        getent passwd bourse
        stat -c "%U %a %n" /var/lib/bourse /etc/bourse/bourse.yaml
        /usr/bin/bourse version
        echo kept > /var/lib/bourse/something
        dpkg --remove bourse
        test ! -e /usr/bin/bourse
        cat /var/lib/bourse/something /etc/bourse/bourse.yaml
        dpkg --purge bourse
        test ! -e /etc/bourse
        cat /var/lib/bourse/something
    """)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bourse 700 /var/lib/bourse" in done.stdout
    assert "root 640 /etc/bourse/bourse.yaml" in done.stdout
    assert "still holds data" in done.stdout
    assert done.stdout.rstrip().endswith("kept")


# -- the image

def test_the_image_is_small_and_says_what_is_in_it():
    octets = sum(path.lstat().st_size for path in IMAGE.rglob("*") if path.is_file())
    assert octets <= IMAGE_BYTES_MAX
    known = {path.name for path in (IMAGE / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "libssl3"} <= known
    assert not (IMAGE / "bin/sh").exists()


@pytest.fixture
def image(tmp_path):
    """A copy of the image with what a container has besides: a null device and a configuration."""
    root = tmp_path / "root"
    shutil.copytree(IMAGE, root, symlinks=True)
    os.chown(root / "var/lib/bourse", 10001, 10001)
    os.chown(root / "run/bourse", 10001, 10001)
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (root / "dev/null").chmod(0o666)
    secret = root / "etc/bourse/admin.password"
    secret.write_text("of the image\n")
    secret.chmod(0o600)
    os.chown(secret, 10001, 10001)
    text = (IMAGE / "etc/bourse/bourse.yaml").read_text().replace("0.0.0.0:5672", "127.0.0.1:0")
    (root / "etc/bourse/bourse.yaml").write_text(text + USER)
    return root


@root_only
def test_the_image_starts_and_answers(image):
    process = subprocess.Popen(
        [shutil.which("chroot") or "/usr/sbin/chroot", "--userspec=10001:10001", str(image), "/usr/bin/bourse", "serve"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"BOURSE_CONFIG": "/etc/bourse/bourse.yaml"})
    started = time.monotonic()
    ready = next((line for line in process.stdout if line.startswith("bourse ready:")), None)
    assert ready is not None, process.stderr.read()
    assert time.monotonic() - started < 10
    port = int(re.search(r"amqp://127\.0\.0\.1:(\d+)", ready)[1])
    conn = amqp.Connection(("127.0.0.1", port)).open(user="admin", password="of the image")
    channel = conn.channel()
    channel.call("queue.declare", queue="q", durable=True)
    channel.publish("", "q", b"in a container", delivery_mode=2)
    assert channel.get("q").body == b"in a container"
    conn.drop()
    process.send_signal(signal.SIGTERM)
    _out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
