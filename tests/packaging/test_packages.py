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
BINARY_BYTES_MAX = 5 * 1000 * 1000
EXPOSURE_MAX = 2.0
CHROOT = shutil.which("chroot") or "/usr/sbin/chroot"
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


# The kernel is not asked: where it has no AppArmor, the profile can be read all the same.
def test_the_profile_is_one_and_stands_in_nobodys_way():
    parser = shutil.which("apparmor_parser") or "/usr/sbin/apparmor_parser"
    if not pathlib.Path(parser).exists():
        pytest.skip("no apparmor_parser")
    profile = ROOT / "packaging" / "apparmor" / "bourse"
    run(parser, "--skip-kernel-load", "--skip-cache", profile)
    names = run(parser, "--names", "--skip-kernel-load", "--skip-cache", profile)
    assert names.split() == ["bourse"], "by name, not by path: the commands are the same binary"


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
            f"{self.merged} && mount --bind /dev {self.merged}/dev && "
            f"mount -t proc proc {self.merged}/proc && exec chroot {self.merged} /bin/sh -eu -c ")

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
        dpkg --no-triggers --install {package()}
        getent passwd bourse
        stat -c "%U %G %a %n" /var/lib/bourse /etc/bourse /etc/bourse/bourse.yaml
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
    assert "bourse bourse 700 /var/lib/bourse" in done.stdout
    assert "root bourse 750 /etc/bourse" in done.stdout
    assert "root bourse 640 /etc/bourse/bourse.yaml" in done.stdout
    assert "still holds data" in done.stdout
    assert done.stdout.rstrip().endswith("kept")


@root_only
def test_a_purge_without_data_leaves_nothing(copy):
    done = copy.run(f"""
        touch /var/tmp/before
        dpkg --no-triggers --install {package()}
        dpkg --purge bourse
        test ! -e /var/lib/bourse && test ! -e /var/backups/bourse && test ! -e /etc/bourse && test ! -e /usr/bin/bourse
        find / -xdev -path /proc -prune -o -name "*bourse*" -cnewer /var/tmp/before -print |
            grep -v "^{ROOT}\\|^/tmp\\|^/var/lib/dpkg\\|^/var/tmp" || true
    """)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "still holds data" not in done.stdout
    assert not done.stdout.rstrip().splitlines()[-1].startswith("/"), done.stdout


# What an administrator does after the installation: the configuration as it comes, the service's user, the
# commands of docs/operation.md.
@root_only
def test_the_installed_broker_starts_as_its_user_and_answers(copy):
    done = copy.run(f"""
        dpkg --no-triggers --install {package()} > /dev/null
        bourse check /etc/bourse/bourse.yaml
        install -d -o bourse -g bourse /run/bourse
        cd /
        setpriv --reuid=bourse --regid=bourse --clear-groups --no-new-privs \\
            /usr/bin/bourse serve /etc/bourse/bourse.yaml --amqp 127.0.0.1:0 > /tmp/out 2> /tmp/err &
        tries=0
        until bourse ping > /dev/null 2>&1; do
            tries=$((tries + 1)); test $tries -lt 200 || {{ cat /tmp/err; exit 1; }}; sleep 0.05
        done
        bourse status -o json
        bourse doctor /etc/bourse/bourse.yaml -o json || test $? = 1
        bourse backup /var/backups/bourse/today
        stat -c "%U %a" /var/backups/bourse/today
        kill -TERM $!
        wait $!
        bourse store verify /var/backups/bourse/today
        cat /tmp/err
    """)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"descriptors"' in done.stdout or '"disk"' in done.stdout
    assert "backed up to /var/backups/bourse/today" in done.stdout
    assert "event=broker.stopped" in done.stdout


@root_only
@pytest.mark.skipif(shutil.which("man") is None, reason="no man")
def test_the_manual_pages_can_be_read(copy):
    done = copy.run(f"""
        dpkg --no-triggers --install {package()} > /dev/null
        for page in man1/bourse.1.gz man5/bourse.yaml.5.gz man5/bourse-topology.5.gz man8/bourse.8.gz; do
            man -l --warnings /usr/share/man/$page | head -n 4
        done
    """)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    for summary in ("a message broker", "settings, users and topology", "exchanges, queues, retries", "the process of"):
        assert summary in done.stdout


@root_only
def test_an_upgrade_keeps_what_was_configured(copy, tmp_path_factory):
    newer = tmp_path_factory.mktemp("newer")
    run("dpkg-deb", "--raw-extract", package(), newer / "root")
    control = newer / "root/DEBIAN/control"
    control.write_text(control.read_text().replace("Version: ", "Version: 1:"))
    run("dpkg-deb", "--root-owner-group", "--build", newer / "root", newer / "newer.deb")
    shutil.copy(newer / "newer.deb", "/var/tmp/bourse-newer.deb")
    try:
        done = copy.run(f"""
            dpkg --no-triggers --install {package()} > /dev/null
            echo "# mine" >> /etc/bourse/bourse.yaml
            echo secret > /etc/bourse/admin.password
            echo kept > /var/lib/bourse/something
            dpkg --no-triggers --install /var/tmp/bourse-newer.deb < /dev/null
            dpkg-query -W bourse
            tail -n 1 /etc/bourse/bourse.yaml
            cat /etc/bourse/admin.password /var/lib/bourse/something
            stat -c "%U %G %a" /etc/bourse/bourse.yaml
        """)
    finally:
        os.unlink("/var/tmp/bourse-newer.deb")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"bourse\t1:.*\n# mine\nsecret\nkept\nroot bourse 640\n$", done.stdout), done.stdout


@pytest.mark.skipif(shutil.which("lintian") is None, reason="no lintian")
def test_lintian_has_nothing_to_say():
    done = subprocess.run(["lintian", "--pedantic", "--display-info", "--fail-on", "error,warning", package()],
                          capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_same_sources_make_the_same_package(tmp_path):
    version = fields()["Version"]
    made = ROOT / run(ROOT / "packaging/debian/build", version, tmp_path, cwd=ROOT).strip()
    assert made.read_bytes() == package().read_bytes()
    binary = (tmp_path / "root/usr/bin/bourse").read_bytes()
    assert str(ROOT).encode() not in binary
    assert len(binary) <= BINARY_BYTES_MAX


# -- from the sources

def test_an_installation_stands_where_it_is_told_and_keeps_the_configuration(tmp_path):
    words = ["make", "-o", "build/bourse", "install", f"DESTDIR={tmp_path}", "PREFIX=/opt/bourse", "SYSCONFDIR=/opt/etc"]
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    run(*words, cwd=ROOT, env=environment)
    unit = (tmp_path / "opt/bourse/lib/systemd/system/bourse.service").read_text()
    assert "ExecStart=/opt/bourse/bin/bourse serve /opt/etc/bourse/bourse.yaml" in unit
    file = tmp_path / "opt/etc/bourse/bourse.yaml"
    file.write_text(file.read_text() + "# mine")
    run(*words, cwd=ROOT, env=environment)
    assert file.read_text().endswith("# mine")
    assert run(tmp_path / "opt/bourse/bin/bourse", "version").startswith("bourse ")
    assert {path.name for path in tmp_path.iterdir()} == {"opt"}


# -- the image

def test_the_containerfile_says_what_the_image_is_made_for():
    text = (ROOT / "packaging/Containerfile").read_text()
    assert "USER 10001:10001" in text and "VOLUME /var/lib/bourse" in text
    assert 'HEALTHCHECK' in text and '"/usr/bin/bourse", "ping"' in text
    assert "BOURSE_CONTEXT=/var/lib/bourse/bourse.sock" in text


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
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (root / "dev/null").chmod(0o666)
    secret = root / "etc/bourse/admin.password"
    secret.write_text("of the image\n")
    secret.chmod(0o600)
    os.chown(secret, 10001, 10001)
    text = (IMAGE / "etc/bourse/bourse.yaml").read_text().replace("0.0.0.0:5672", "127.0.0.1:0")
    (root / "etc/bourse/bourse.yaml").write_text(text + USER)
    return root


# Read-only but for its volume: as an unprivileged user, to whom nothing else of the root belongs.
@root_only
def test_the_image_starts_and_answers(image):
    process = subprocess.Popen(
        [CHROOT, "--userspec=10001:10001", str(image), "/usr/bin/bourse", "serve"],
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
    ping = run(CHROOT, "--userspec=10001:10001", image, "/usr/bin/bourse", "ping",
               env={"BOURSE_CONTEXT": "/var/lib/bourse/bourse.sock"})
    assert ping.startswith("ok: ")  # as the image checks itself
    channel.publish("", "q", b"in a container", delivery_mode=2)
    assert channel.get("q").body == b"in a container"
    conn.drop()
    process.send_signal(signal.SIGTERM)
    _out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
