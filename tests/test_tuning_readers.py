"""What the readers find in real kinds of files: each syntax, each order, each place that cannot be read."""

import contextlib
import io
import os
import pickle
import shlex
import sys
import time

import pytest
import yaml

from harness.kernel.sysctls import Setting
from harness.sysctl_files import lines, sysctl_d, yaml_documents
from harness.sysctl_files.lines import Malformed
from harness.sysctl_files.read import SIZE_LIMIT, read

LIBYAML = yaml.__with_libyaml__
"""Whether the error messages come from libyaml."""

SACK, REUSE, CORE = "net.ipv4.tcp_sack", "net.ipv4.tcp_tw_reuse", "net.core.somaxconn"


@pytest.fixture
def given(tmp_path):
    """Write files, given by name; returns their paths."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.fixture
def in_time():
    """At most a second and a half more than PyYAML alone takes."""

    @contextlib.contextmanager
    def check(text):
        before = time.process_time()
        with contextlib.suppress(yaml.YAMLError):
            list(yaml.compose_all(text, Loader=yaml_documents._LOADER))
        alone = time.process_time() - before
        yield
        assert time.process_time() - before < 2.5 * alone + 1.5

    return check


def settings(*paths):
    return [(line.key, line.value) for line in read(paths) if not line.overridden_by]


def troubles(path):
    with pytest.raises(Malformed) as raised:
        read([path])
    assert all(place.source == path for place in raised.value.places)
    return [(place.line, place.column, place.why) for place in raised.value.places]


PROC, KEY, SECRET = (
    "/proc/sys/net/ipv4/tcp_fastopen_key",
    "net.ipv4.tcp_fastopen_key",
    "00112233-44556677-8899aabb-ccddeeff",
)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.sh", f"ssh host sysctl -w {KEY}={SECRET}"), ("a.sh", f"ssh host 'echo {SECRET} > {PROC}'"),
     ("a.sh", f"ssh host 'echo {KEY}={SECRET} >> /etc/sysctl.d/a.conf'"), ("a.sh", f"sysctl -w {KEY}={SECRET}$X"),
     ("a.sh", f"sysctl -w {KEY} = {SECRET}"), ("a.sh", f"docker run --sysctl {KEY}:{SECRET} x"),
     ("a.sh", f"sysctl -w net/ipv6/conf/eth0/stable_secret={SECRET}$X"), ("a.conf", f"{KEY} {SECRET}"),
     ("a.conf", f"{KEY} {SECRET} = 1"), ("a.yml", f"sysctls: ['{KEY}:{SECRET}']"),
     ("a.yml", f"sysctls: {{{KEY}: '{SECRET}$X'}}"),
     ("a.yml", f"sysctls: [{{name: {KEY}, value: '{SECRET}{{{{ x }}}}'}}]"),
     ("a.yml", f"- sysctl: {{name: {KEY}, value: '{SECRET}{{{{ x }}}}'}}"),
     ("a.yml", f"- sysctl: name={KEY} value={SECRET}{{{{x}}}}"),
     ("a.yml", f"- sysctl: {{name: {KEY}, value: '{SECRET}{{{{ item }}}}'}}\n  loop: ['{{{{ x }}}}']")],
)  # fmt: skip
def test_a_secret_is_in_no_error_message(given, name, text):
    found = troubles(given(name, text))
    assert found
    assert not any("00112233" in why for *_, why in found), found


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [("a.sh", f"sysctl -w {KEY}={SECRET}$X", f"{KEY} (secret): the value that the shell inserts is not known here"),
     ("a.sh", f"cat x > {PROC}", f"what cat writes to {PROC} is not known here"),
     ("a.sh", f"ssh host sysctl -w {KEY}={SECRET}",
      "a sysctl is set here in a way that is not supported: ssh … (secret)"),
     ("a.sh", f"ssh host 'echo {KEY}={SECRET} >> /etc/sysctl.d/a.conf'",
      "a file of sysctls is written here: ssh … (secret). Hint: give that file itself"),
     ("a.sh", f"cat x > /etc/sysctl.d/{KEY}.conf",
      f"settings written to /etc/sysctl.d/{KEY}.conf. Hint: give that file itself"),
     ("a.conf", f"{KEY} {SECRET}", f"no '=' in '{KEY} (secret)'"),
     ("a.conf", KEY, f"no '=' in '{KEY}'"),
     ("a.yml", f"sysctls: {{{KEY}: '{SECRET}$X'}}", "the template (secret) is not known here")],
)  # fmt: skip
def test_an_error_about_a_secret_has_the_reason(given, name, text, why):
    assert [each[2] for each in troubles(given(name, text))] == [why]


class TestSysctlD:
    def test_a_file_is_read_line_by_line(self):
        text = "# a comment\n; another\r\n\n  net.a = 1 2\t3 \n-net.b=\nnet.c = x = y # z\n"
        assert sysctl_d.parse(text, "test.conf") == [
            Setting("net.a", "1 2\t3"),
            Setting("net.b", "", optional=True),
            Setting("net.c", "x = y # z"),
        ]

    @pytest.mark.parametrize(
        ("written", "key"),
        [("a.b/c.d", "a.b/c.d"), ("a/b.c/d", "a.b/c.d"), ("/net/ipv4/x", "net.ipv4.x"), ("a..b", "a.b"), ("x", "x"),
         ("net.ipv4.conf.enp3s0/200.forwarding", "net.ipv4.conf.enp3s0/200.forwarding"),
         ("net/ipv4/conf/enp3s0.200/forwarding", "net.ipv4.conf.enp3s0/200.forwarding")],
    )  # fmt: skip
    def test_the_first_separator_decides(self, written, key):
        assert lines.normalised(written) == key

    def test_a_path_keeps_the_dots_of_names(self):
        assert lines.path_of("net.ipv4.conf.eth0/200.x") == "net/ipv4/conf/eth0.200/x"

    @pytest.mark.parametrize(
        ("text", "places"),
        [("net.a = 1\n  net.b\n", [(2, 3, "no '=' in 'net.b'")]),
         ("=1\n-\n", [(1, 1, "no key before '='"), (2, 1, "no key before '='")]),
         ("a b = 1", [(1, 1, "a space in the key 'a b'")]),
         ("\ta/../b = 1", [(1, 2, "'a/../b' cannot be a name below /proc/sys")]),
         ("a = \x1b[2J", [(1, 1, "a control character")]),
         (f"a = {'1' * 4097}", [(1, 1, "longer than 4096 characters")])],
    )  # fmt: skip
    def test_unreadable_places_are_reported_together(self, given, text, places):
        assert troubles(given("a.conf", text)) == places

    def test_the_last_line_counts_and_the_others_name_it(self, given):
        path = given("a.conf", f"{SACK} = 1\nnet/ipv4/tcp_sack = 0\n{REUSE}=1\n")
        found = read([path])
        assert [line.overridden_by for line in found] == [f"{path}:2", "", ""]

    def test_a_bare_key_excludes_earlier_lines(self, given):
        path = given("a.conf", f"{SACK} = 1\n{REUSE} = 1\n-{SACK}\n-{REUSE}\n{REUSE} = 0\n")
        assert settings(path) == [(REUSE, "0")]
        assert [line.overridden_by for line in read([path])] == [f"{path}:3", f"{path}:4", ""]

    def test_a_glob_excludes_keys_that_have_their_own_line(self, given):
        text = "net.ipv4.conf.*.rp_filter = 2\n-net.ipv4.conf.default.rp_filter\nnet.ipv4.conf.lo.rp_filter = 0\n"
        found = settings(given("a.conf", text))
        folder = "/proc/sys/net/ipv4/conf"
        assert found[-1] == ("net.ipv4.conf.lo.rp_filter", "0")
        assert {key.split(".")[3].replace("/", ".") for key, _ in found} == set(os.listdir(folder)) - {"default"}

    @pytest.mark.parametrize("pattern", ["net.nope.*", "net.ipv4.tcp_[", "*/../*"])
    def test_a_glob_that_matches_nothing_stays_a_name(self, given, pattern):
        path = given("a.conf", f"{pattern} = 1")
        try:
            assert settings(path) == [(lines.normalised(pattern), "1")]
        except Malformed as error:
            assert ".." in pattern, error  # noqa: PT017

    def test_a_glob_never_leaves_proc_sys(self):
        assert sysctl_d.matches("..*.etc") == []
        assert "net.core.rmem_max" in sysctl_d.matches("net.core.*mem_max")
        assert len(sysctl_d.matches("net.core.?mem_max")) == 2


class TestFilesAndDirectories:
    def test_a_directory_is_its_conf_files_by_base_name(self, given, tmp_path):
        given("20-b.conf", f"{SACK}=20")
        given("10-a.conf", f"{SACK}=10\n{REUSE}=1")
        given("30-c.txt", f"{SACK}=30")
        assert settings(str(tmp_path)) == [(REUSE, "1"), (SACK, "20")]

    def test_directories_together_are_one_boot(self, given, tmp_path):
        given("etc/50.conf", f"{SACK}=1")
        given("usr/50.conf", f"{SACK}=2\n{REUSE}=2")
        given("usr/40.conf", f"{SACK}=4")
        given("usr/60.conf", f"{CORE}=6")
        (tmp_path / "etc" / "60.conf").symlink_to("/dev/null")
        both = [str(tmp_path / "etc"), str(tmp_path / "usr")]
        assert settings(*both) == [(SACK, "1")]
        assert settings(*reversed(both)) == [(SACK, "2"), (REUSE, "2"), (CORE, "6")]

    def test_an_unreadable_file_is_ignored_but_masks_its_name(self, given, tmp_path):
        given("etc/10.conf", f"{SACK}=1")
        given("etc/.20.conf", f"{SACK}=2")
        (tmp_path / "etc" / "30.conf").symlink_to("/nonexistent")
        (tmp_path / "etc" / "40.conf").mkdir()
        given("usr/30.conf", f"{SACK}=3")
        assert settings(str(tmp_path / "etc"), str(tmp_path / "usr")) == [(SACK, "1")]
        assert "cannot be read" in troubles(str(tmp_path / "etc" / "30.conf"))[0][2]

    def test_a_directory_and_a_file_come_in_the_order_given(self, given, tmp_path):
        given("d/90.conf", f"{SACK}=90")
        file = given("a.conf", f"{SACK}=1")
        assert settings(str(tmp_path / "d"), file) == [(SACK, "1")]
        assert settings(file, str(tmp_path / "d")) == [(SACK, "90")]

    def test_stdin(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{SACK}=0".encode())))
        assert [(line.place, line.value) for line in read(["-"])] == [("stdin:1", "0")]

    def test_neither_pipes_nor_devices_are_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        for path in (str(tmp_path / "pipe"), "/dev/zero"):
            assert troubles(path) == [(0, 0, "cannot be read: it is not a regular file")]

    def test_a_missing_file_is_reported_as_such(self, tmp_path):
        assert troubles(str(tmp_path / "nope")) == [(0, 0, "cannot be read: No such file or directory")]

    @pytest.mark.parametrize(
        ("data", "place"),
        [(b"a=1\nb=\xff\n", (2, 3, "not UTF-8: byte 0xff")), (b"a=1\nb=1\0", (2, 4, "a NUL")),
         (b"#" * (SIZE_LIMIT + 1), (0, 0, f"longer than {SIZE_LIMIT} bytes"))],
    )  # fmt: skip
    @pytest.mark.parametrize("name", ["a.conf", "a.sh", "a.yml"])
    def test_bytes_that_are_not_text(self, given, name, data, place):
        assert troubles(given(name, data)) == [place]

    def test_a_byte_order_mark_is_not_part_of_a_key(self, given):
        assert settings(given("a.conf", b"\xef\xbb\xbfnet.a=1")) == [("net.a", "1")]

    def test_all_files_troubles_come_together_and_nothing_is_used(self, given):
        paths = [
            given("a.conf", "x"),
            given("b.conf", f"{SACK}=1"),
            given("c.sh", "sysctl -w y"),
            given("d.yml", "sysctls: [z]"),
        ]
        with pytest.raises(Malformed) as raised:
            read(paths)
        assert [place.source for place in raised.value.places] == [paths[0], paths[2], paths[3]]
        assert f"{paths[2]}:1:11: no '=' in 'y'" in str(raised.value)
        assert "Hint:" in str(raised.value)
        assert pickle.loads(pickle.dumps(raised.value)).places == raised.value.places

    def test_more_settings_than_any_file_has(self, given):
        path = given("a.conf", "\n".join(f"net.k{number}=1" for number in range(lines.LINES_LIMIT + 5)))
        assert troubles(path) == [(lines.LINES_LIMIT + 1, 1, "more than 10000 settings")]

    @pytest.mark.parametrize(
        "text",
        [
            "tee " * 200_000,
            "cp " * 200_000 + "/etc/sysctl.d/\n" + "sed " * 16_000 + "/etc/sysctl.d/",
            "A=/etc/sysctl.d$A$A\n" * 10_000 + ("$A" * 32_000 + "\n") * 10,
            "x 'sysctl.d/" + "install " * 8_000 + "'",
            ">sysctl" * 9000,
            "x " + "sysctl " * 9000,
            "tee " * 16_000 + "x >/proc/sys/",
            "sysctl -w " + "a=1 " * 10_000,
            "x*" * 2000,
            "- " * 200_000,
        ],
    )
    def test_hostile_lines_take_no_time(self, given, text):
        """Each of these would take minutes if a pattern were tried at every position of the line."""
        before = time.process_time()
        with contextlib.suppress(Malformed):
            read([given("a", text)])
        assert time.process_time() - before < 5

    @pytest.mark.parametrize("name", ["99-tuning.bak", "tuning.txt", "99-tuning"])
    def test_a_comment_about_proc_sys_makes_no_script_of_settings(self, given, name):
        text = f"{SACK} = 0 # as with --sysctl\n"
        assert settings(given(name, text)) == [(SACK, "0 # as with --sysctl")]

    def test_settings_and_commands_in_one_file_are_refused(self, given):
        text = f"{SACK} = 0\nsysctl -w {REUSE}\n"
        assert troubles(given("etc", text)) == [(2, 1, f"no '=' in 'sysctl -w {REUSE}'")]

    @pytest.mark.parametrize(
        ("name", "text"),
        [("etc", f"X=1\nsysctl -w \\\n  {SACK}=0"), ("etc", f"{SACK}=0"),
         ("etc", f"#!/bin/sh\nsysctl -w {SACK}=0"), ("etc", f"sysctls:\n  {SACK}: 0"),
         ("etc", f"apiVersion: v1\nx: {{sysctls: [{SACK}=0]}}"), ("etc", "echo 0 >/proc/sys/net/ipv4/tcp_sack"),
         ("a.json", f'{{"sysctls": {{"{SACK}": "0"}}}}')],
    )  # fmt: skip
    def test_the_format_of_a_file_is_recognised_by_its_content(self, given, name, text):
        assert settings(given(name, text)) == [(SACK, "0")]


class TestScripts:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            (f"sysctl -w {SACK}=0", [(SACK, "0")]),
            (f"sudo -u root /sbin/sysctl -qw {SACK}=0 {REUSE}=1 2>/dev/null || true", [(SACK, "0"), (REUSE, "1")]),
            (f"sysctl {SACK}=0 >/dev/null", [(SACK, "0")]),
            (f"sysctl {SACK}; sysctl -n {REUSE}", []),
            ("sysctl -w net.ipv4.tcp_rmem='4096 87380 6291456'", [("net.ipv4.tcp_rmem", "4096 87380 6291456")]),
            (f'sysctl -w "{SACK} = 0"', [(SACK, "0")]),
            (f"sysctl -w \\\n  {SACK}=0 \\\n  {REUSE}=1", [(SACK, "0"), (REUSE, "1")]),
            (f"# sysctl -w {SACK}=0\n:", []),
            (f"if sysctl -w {SACK}=0; then LANG=C sysctl -w {REUSE}=1; fi", [(SACK, "0"), (REUSE, "1")]),
            ("echo 2 > /proc/sys/net/ipv4/tcp_tw_reuse", [(REUSE, "2")]),
            ("echo -n '1 2' >/proc/sys/net/ipv4/x", [("net.ipv4.x", "1 2")]),
            ("printf '%s\\n' 7 > /proc/sys/net/x; printf '8\\n' > /proc/sys/net/y", [("net.x", "7"), ("net.y", "8")]),
            ("echo 5 | sudo tee -a /proc/sys/net/x /proc/sys/net/y >/dev/null", [("net.x", "5"), ("net.y", "5")]),
            (f"sudo sh -c 'echo 0 > /proc/sys/net/ipv4/tcp_sack && sysctl -w {REUSE}=1'", [(SACK, "0"), (REUSE, "1")]),
            (f"docker run --rm --sysctl {SACK}=0 --sysctl={REUSE}=1 -p 1:1 alpine true", [(SACK, "0"), (REUSE, "1")]),
            ("cat /proc/sys/net/ipv4/tcp_sack; ls sysctl.d", []),
            ('command -v sysctl || which sysctl; [ -w /proc/sys/net/ipv4/tcp_sack ] && echo "sysctl -w x=1"', []),
            (f'timeout 5 sysctl -n {SACK}; local was="$(sysctl -n {SACK})"; SYSCTL=/sbin/sysctl', []),
            (f"bash -ec 'sysctl -w {SACK}=0'", [(SACK, "0")]),
            ('P=/proc/sys/net\n[ -w $P/ipv4 ]\necho 0 > "$P/ipv4/tcp_sack"\nwas=$(cat $P/core/x)', [(SACK, "0")]),
            ("echo 1 > /proc/sys/net/ipv4/conf/eth0.200/forwarding", [("net.ipv4.conf.eth0/200.forwarding", "1")]),
        ],
    )  # fmt: skip
    def test_what_a_script_sets(self, given, text, found):
        assert settings(given("a.sh", text)) == found

    def test_a_setting_knows_its_place_after_a_continued_line(self, given):
        found = read([given("a.sh", f"true\nsysctl -w \\\n  {SACK}=0 {REUSE}=1\n")])
        assert [(line.line, line.column) for line in found] == [(3, 3), (3, 23)]

    def test_sysctl_e_allows_unknown_keys(self, given):
        found = read([given("a.sh", f"sysctl -ew {SACK}=0\nsysctl -w {REUSE}=0")])
        assert [line.optional for line in found] == ["-e", ""]

    @pytest.mark.parametrize(
        ("text", "place"),
        [(f"true; sysctl -w {SACK}=$VALUE",
          (1, 17, f"{SACK}=$VALUE: the value that the shell inserts is not known here")),
         ("\nsysctl -w `x`=1", (2, 11, "`x`=1: the value that the shell inserts is not known here")),
         ("for f in *; do echo 0 > /proc/sys/$f; done",
          (1, 25, "/proc/sys/$f=0: the value that the shell inserts is not known here")),
         ("sysctl -w oops", (1, 11, "no '=' in 'oops'")),
         (" sysctl -w 'oops", (1, 2, "no closing quotation")),
         ("sysctl --system",
          (1, 8, "sysctl --system reads the sysctl.d directories and /etc/sysctl.conf. Hint: give those files")),
         ("sysctl -p", (1, 8, "sysctl -p reads /etc/sysctl.conf. Hint: give that file itself")),
         ("sysctl -qp /etc/x.conf", (1, 8, "sysctl -qp reads /etc/x.conf. Hint: give that file itself")),
         ("sysctl -e -f a b", (1, 11, "sysctl -f reads a, b. Hint: give those files themselves")),
         ("sysctl -pa.conf", (1, 8, "sysctl -pa.conf reads a.conf. Hint: give that file itself")),
         ("sysctl --load=a.conf", (1, 8, "sysctl --load=a.conf reads a.conf. Hint: give that file itself")),
         ("cat x | sysctl -p -",
          (1, 16, "sysctl -p reads its standard input. Hint: give its input as a file")),
         (f"sysctl -p/dev/stdin <<E\n{SACK}=0\nE",
          (1, 8, "sysctl -p/dev/stdin reads its standard input. Hint: give its input as a file")),
         ("cat a > /proc/sys/net/x", (1, 9, "what cat writes to /proc/sys/net/x is not known here")),
         ("cat <<E >> /etc/sysctl.d/1.conf",
          (1, 12, "settings written to /etc/sysctl.d/1.conf. Hint: give that file itself")),
         (f"cat > /etc/sysctl.d/x <<E\n# x\n  {SACK}=$(nproc)\nE",
          (3, 1, f"{SACK}=$(nproc): the value that the shell inserts is not known here")),
         (f"sudo sh -c 'echo {SACK}=$X >> /etc/sysctl.conf'",
          (1, 18, f"{SACK}=$X: the value that the shell inserts is not known here")),
         ("true\ncat x | sudo tee -a \\\n  $ROOT/etc/sysctl.d/x.conf",
          (3, 3, "settings written to $ROOT/etc/sysctl.d/x.conf. Hint: give that file itself")),
         ("docker run --sysctl", (1, 1, "no '=' in ''"))],
    )  # fmt: skip
    def test_values_that_only_a_shell_can_compute_are_reported(self, given, text, place):
        assert troubles(given("a.sh", text)) == [place]

    @pytest.mark.parametrize(
        "command",
        [f"$SUDO sysctl -w {SACK}=0", f"timeout 5 sysctl -w {SACK}=0", f"nsenter -t 1 -n sysctl -qw {SACK}=0",
         f"$SYSCTL -w {SACK}=0", f"${{SYSCTL}} {SACK}=0", f"docker exec a /sbin/sysctl {SACK}=0",
         "ssh h sysctl --system", "dd of=/proc/sys/net/ipv4/tcp_sack", "for f in /proc/sys/net/ipv4/conf/*/rp_filter",
         "sed -i s/1/0/ /proc/sys/net/ipv4/tcp_sack", "$SUDO tee /proc/sys/net/ipv4/tcp_sack"],
    )  # fmt: skip
    def test_a_setting_through_an_unknown_program_is_reported(self, given, command):
        why = f"a sysctl is set here in a way that is not supported: {command}"
        assert troubles(given("a.sh", command)) == [(1, 1, why)]
        assert troubles(given("b.sh", f"echo 5 | {command} >/dev/null")) == [(1, 10, why)]

    @pytest.mark.parametrize(
        "command",
        ["cp x.conf /etc/sysctl.d", "/bin/cp -f a b $ROOT/etc/sysctl.d/", "mv a.conf /etc/sysctl.conf",
         "install -D -m 644 x.conf /etc/sysctl.d/x.conf", "cp -t /etc/sysctl.d x y",
         f"cp {'a ' * 200}/etc/sysctl.d", "ln -s /x /etc/sysctl.d/x.conf",
         "sed -i s/1/0/ /etc/sysctl.conf", "perl -pi -e s/1/0/ /etc/sysctl.conf", "dd of=/etc/sysctl.d/x.conf",
         "curl -so /etc/sysctl.d/x.conf https://h/x", "wget https://h/x -O /etc/sysctl.d/x.conf",
         "COPY --chmod=644 x.conf /etc/sysctl.d/", "RUN cp x.conf /etc/sysctl.d/", "$SUDO tee /etc/sysctl.d/x.conf",
         "cp x $ETC/sysctl.conf", "scp x h:/etc/sysctl.conf", "cp x sysctl.conf", "cp x /etc/ufw/sysctl.conf",
         "cp x /etc/sysctl.d/$NAME.$SUFFIX", "mv x sysctl.d/y"],
    )  # fmt: skip
    def test_a_program_that_writes_a_file_of_sysctls_is_reported(self, given, command):
        shortened = command if len(command) <= 80 else f"{command[:80]}…"
        why = f"a file of sysctls is written here: {shortened}. Hint: give that file itself"
        assert troubles(given("a.sh", f"{command} 2>/dev/null || exit\n")) == [(1, 1, why)]
        assert troubles(given("Dockerfile", f"FROM alpine\n{command}\n")) == [(2, 1, why)]
        ((line, column, _),) = troubles(given("b.sh", f"ssh h 'set -e; {command}; true'"))
        assert (line, column) == (1, 1)

    @pytest.mark.parametrize(
        ("text", "place"),
        [('CONF=/etc/sysctl.d/x.conf\ncat > "$CONF" <<E',
          (2, 1, "settings written to /etc/sysctl.d/x.conf. Hint: give that file itself")),
         ("local D='/etc/sysctl.d' F=a\n cp x ${D}/y",
          (2, 2, "a file of sysctls is written here: cp x /etc/sysctl.d/y. Hint: give that file itself")),
         ("D=/etc/sysctl.d; export F=$D/y.conf\ntee -a $F",
          (2, 1, "settings written to /etc/sysctl.d/y.conf. Hint: give that file itself")),
         ('./a | tee "${SYSCTL_FILE}"', (1, 12, "settings written to ${SYSCTL_FILE}. Hint: give that file itself")),
         ("F=/etc/sysctl.conf\nsysctl -p $F", (2, 8, "sysctl -p reads /etc/sysctl.conf. Hint: give that file itself"))],
    )  # fmt: skip
    def test_a_variable_set_to_a_file_of_sysctls_is_that_file(self, given, text, place):
        assert troubles(given("a.sh", text)) == [place]
        assert settings(given("b.sh", "D=/etc/sysctl.d; ls $D $E\n")) == []

    @pytest.mark.parametrize(
        "text",
        ["F={0}a; echo 2 > $F; F={0}b; echo 0 > $F", "if x; then F={0}a; else F={0}b; fi\necho 2 > $F",
         "(F={0}a)\necho 2 > $F", "F={0}a\nread -r F\necho 2 > $F", "F={0}a; echo 2 > ${{F%/*}}/b",
         "for F in {0}a {0}b; do\necho 2 > $F\ndone", "D={0}; D+=a\necho 2 > $D",
         "D={0}a; D=x; F=$D/b\necho 2 | tee $F"],
    )  # fmt: skip
    def test_a_variable_that_may_be_another_path_is_unknown(self, given, text):
        found = troubles(given("a.sh", text.format("/proc/sys/net/ipv4/")))
        assert "/proc/sys/$" in found[-1][2]
        assert found[-1][2].endswith(": the value that the shell inserts is not known here")

    def test_what_is_only_shown_sets_nothing(self, given):
        text = (
            f"cat <<EOF\nDon't:\n sysctl -w {SACK}=0\nEOF\n: <<'E'\nsysctl -w {SACK}=0\nE\n"
            f'echo "By hand: \\"\n sysctl -w {SACK}=0\n"\n# it\'s\nx=$((1<<E))\nsysctl -w {SACK}=1 # isn\'t\n'
        )
        assert settings(given("a.sh", text)) == [(SACK, "1")]

    @pytest.mark.parametrize("receiver", ["ssh h bash <<E", "cat > /tmp/x.sh <<-'E'", "cat << E | sh", "RUN <<E"])
    def test_commands_that_are_sent_somewhere_are_reported(self, given, receiver):
        text = f"{receiver}\ntrue\nsysctl -w {SACK}=0\n\tE\nE\n"
        why = "a here-document that sets sysctls: whether it is run is not known here"
        assert troubles(given("a.sh", text)) == [(3, 1, why)]

    @pytest.mark.parametrize(
        "text",
        ["if x; then\n{0}=1\nelse\n{0}=2\nfi", "{0}=1\nx && {0}=2", "case $1 in\na) {0}=1;;\nb) {0}=2;;\nesac",
         "{0}=1; if x; then {0}=2; fi", "{0}=1\nwhile x\ndo\n{0}=2\ndone"],
    )  # fmt: skip
    def test_two_conditional_values_of_one_key_are_reported(self, given, text):
        ((_, _, why),) = troubles(given("a.sh", text.format(f"sysctl -w {SACK}")))
        assert why.startswith(f"{SACK} is 1 at ")
        assert why.endswith(", but has another value under a condition")

    def test_a_condition_without_an_effect_is_ignored(self, given):
        text = "if x; then {0}=1; fi\n{0}=2\nif x; then {0}=2; fi\nfor a in b; do true; done; {0}=3\n"
        assert [value for _, value in settings(given("a.sh", text.format(f"sysctl -w {SACK}")))] == ["1", "2", "2", "3"]

    @pytest.mark.parametrize(
        "command",
        ["cp /etc/sysctl.conf /etc/sysctl.conf.bak", "cp -r /etc/sysctl.d /tmp/kept", "mkdir -p /etc/sysctl.d",
         "/usr/bin/install -d -m 755 /etc/sysctl.d", "rm -f /etc/sysctl.d/x.conf", "sed -n 1p /etc/sysctl.conf",
         "curl -s https://h/sysctl.conf -o /tmp/x", "grep -o x /etc/sysctl.conf | tee /tmp/x",
         "echo 'cp x /etc/sysctl.d/'", "chmod 644 /etc/sysctl.d/x.conf", "diff x /etc/sysctl.conf > /tmp/x",
         "mv x /etc/sysctl.d/y.conf.bak", "cp /etc/sysctl.d/y.conf{,.bak}", "cat /etc/sysctl.conf > /tmp/sysctl.conf",
         "cp /etc/sysctl.conf /root/sysctl.conf", "echo x | tee /tmp/old-sysctl.conf", "ssh h 'cp x /tmp/sysctl.conf'"],
    )  # fmt: skip
    def test_commands_that_only_read_or_remove_a_file_set_nothing(self, given, command):
        assert settings(given("a.sh", f"{command}\n")) == []

    @pytest.mark.parametrize("by", ["su -c", "ssh h", "$SUDO sh -c"])
    def test_an_unknown_programs_quoted_command_is_reported(self, given, by):
        ((line, column, why),) = troubles(given("a.sh", f'{by} "sysctl -w {SACK}=0"'))
        assert (line, column) == (1, 1)
        assert why == f"a sysctl is set here in a way that is not supported: {by} sysctl -w {SACK}=0"

    def test_nested_shells_are_read_to_a_depth_and_reported_below(self, given):
        text = f"sysctl -w {SACK}=0"
        for _ in range(3):
            text = f"sh -c {shlex.quote(text)}"
        assert settings(given("a.sh", text)) == [(SACK, "0")]
        ((_, _, why),) = troubles(given("a.sh", f"sh -c {shlex.quote(text)}"))
        assert why.startswith("a sysctl is set here in a way that is not supported: sh -c")

    def test_lines_and_messages_are_bounded(self, given):
        assert troubles(given("a.sh", "sysctl " + "x" * 70_000)) == [(1, 1, "a line longer than 65536 characters")]
        assert len(troubles(given("b.sh", "sysctl -w oops\n" * 2000))) == 1000

    @pytest.mark.parametrize("first", [f"docker run --sysctl {SACK}=1 a", f"sysctl -w {SACK}=1"])
    def test_containers_and_the_host_do_not_override_each_other(self, given, first):
        found = read([given("a.sh", f"{first}\npodman run --sysctl {SACK}=0 --sysctl {REUSE}=1 b\n")])
        assert [line.container for line in found] == ([0, 1, 1] if "-w" in first else [1, 2, 2])
        assert not any(line.overridden_by for line in found)
        one, other = given("b.sh", first), given("c.sh", f"docker run --sysctl {SACK}=0 b")
        assert settings(one, other) == [(SACK, "1"), (SACK, "0")], "files come in the given order"

    def test_nothing_is_run(self, given, tmp_path):
        mark = tmp_path / "mark"
        given_path = given("a.sh", f"sysctl -w {SACK}=$(touch {mark})\nsysctl -w {REUSE}=`touch {mark}`\n")
        assert len(troubles(given_path)) >= 2
        assert not mark.exists()


POD = """
apiVersion: v1
spec:
  template: {spec: {securityContext: {sysctls: [{name: net.core.somaxconn, value: "1024"}]}}}
---
services:
  a: {sysctls: {net.ipv4.tcp_sack: 0}}
  b:
    sysctls:
    - net.ipv4.tcp_tw_reuse=1
"""


class TestManifests:
    def test_kubernetes_and_compose(self, given):
        found = read([given("a.yml", POD)])
        assert [(line.key, line.value) for line in found] == [(CORE, "1024"), (SACK, "0"), (REUSE, "1")]
        assert [(line.line, line.column) for line in found] == [(4, 56), (7, 17), (10, 7)]

    @pytest.mark.parametrize(
        "module", ["ansible.posix.sysctl", "ansible.builtin.sysctl", "ansible.legacy.sysctl", "sysctl"]
    )
    @pytest.mark.parametrize(
        ("task", "found"),
        [
            (f"{{name: {SACK}, value: '0'}}", [(SACK, "0")]),
            (f"{{name: {SACK}, value: yes}}", [(SACK, "1")]),
            (f"{{key: {SACK}, val: Off}}", [(SACK, "0")]),
            (f"name={SACK} value='1 2' state=present", [(SACK, "1 2")]),
            ("{name: '{{ item.k }}', value: '{{item.v}}'}\n  loop: [{k: a, v: 1}, {k: c, v: 2}]",
             [("a", "1"), ("c", "2")]),
            ("{name: 'net.{{ item }}', value: 3}\n  with_items: [x, y]", [("net.x", "3"), ("net.y", "3")]),
            ("{name: \"{{ item['k'] }}\", value: 3}\n  loop: [{k: a.b}]", [("a.b", "3")]),
        ],
    )  # fmt: skip
    def test_ansible_tasks(self, given, module, task, found):
        assert settings(given("a.yml", f"- {module}: {task}\n")) == found
        assert settings(given("tasks", f"- {module}: {task}\n")) == found

    @pytest.mark.parametrize(
        "task",
        [f"action: sysctl name={SACK} value=0", f"local_action: ansible.posix.sysctl name={SACK} value=0",
         f"action: {{module: ansible.builtin.sysctl, name: {SACK}, value: 0}}",
         f"ansible.posix.sysctl:\n  args: {{name: {SACK}, value: 0}}"],
    )  # fmt: skip
    def test_ansible_tasks_in_other_words(self, given, task):
        assert settings(given("a.yml", f"- {task}\n")) == [(SACK, "0")]

    @pytest.mark.parametrize("module", ["ansible.posix.sysctl", "ansible.builtin.sysctl", "sysctl"])
    @pytest.mark.parametrize(
        ("text", "why"),
        [("'{{ x }}'", "the template '{{ x }}' is not known here"),
         ("'{{ item }}'\n  loop: [{name: a.b, value: 1}]", "the template '{{ item }}' is not known here"),
         ("'value=1 {{ x }}'", "the template 'value=1 {{ x }}' is not known here"),
         ("value=1", "no name in plain text"), ("name=a.b", "no value in plain text")],
    )  # fmt: skip
    def test_an_unknown_task_in_one_text_is_reported(self, given, module, text, why):
        assert troubles(given("a.yml", f"- {module}: {text}\n")) == [(1, len(module) + 5, why)]

    def test_the_key_sysctl_alone_makes_no_task_but_the_module_does(self, given):
        assert settings(given("a.yml", "sysctl: /sbin/sysctl\nx: {sysctl: true}\ny: {sysctl: }\n")) == []
        assert troubles(given("b.yml", "- ansible.builtin.sysctl:\n")) == [(1, 26, "no name in plain text")]

    def test_ignoreerrors_makes_a_line_optional(self, given):
        text = f"- ansible.posix.sysctl: {{name: {SACK}, value: 0, ignoreerrors: yes}}"
        assert [line.optional for line in read([given("a.yml", text)])] == ["ignoreerrors"]

    @pytest.mark.parametrize(
        ("text", "place"),
        [("- sysctl: {name: a.b, value: '{{ x }}'}", (1, 30, "the template '{{ x }}' is not known here")),
         ("- sysctl: {name: a.b, value: '{{ item.v }}'}\n  loop: [{k: 1}]", (1, 30, "{{ item.v }} is not known here")),
         ("- sysctl: {name: a.b, value: 1}\n  loop: '{{ all }}'",
          (2, 9, "a loop over items that are not in this file")),
         ("- sysctl: {name: a.b, state: absent}",
          (1, 30, "state 'absent' sets nothing. Hint: remove the task")),
         ("- sysctl: {name: a.b, value: '{{item}}{{item}}'}\n  loop: ['{{item}}{{item}}']",
          (1, 30, "the template '{{item}}{{item}}{{item}}{{item}}' is not known here")),
         ("- sysctl: {name: a.b, value: '" + "{{item}}" * 40 + "'}\n  loop: ['{{item}}{{item}}']",
          (1, 30, "a template of more than 16 items or 4096 characters")),
         ("- sysctl: {name: a.b, value: '{{item}}{{item}}'}\n  loop: [" + "1" * 2049 + "]",
          (1, 30, "a template of more than 16 items or 4096 characters")),
         ("- sysctl: {name: a.b}", (1, 11, "no value in plain text")),
         ("- sysctl: {value: 1}", (1, 11, "no name in plain text")),
         ("sysctls: [a]", (1, 11, "'a' is not KEY=VALUE")),
         ("sysctls: {a: }", (1, 14 if LIBYAML else 13, "a name or a value that is not plain text")),
         ("sysctls:\n- {name: a.b}", (2, 3, "a name or a value that is not plain text")),
         ("sysctls:\n  a.b: ${X}", (2, 8, "the template '${X}' is not known here")),
         ("sysctls: {a.b: '${X}'}", (1, 16, "the template '${X}' is not known here")),
         ("sysctls: '{{ x }}'", (1, 10, "the template '{{ x }}' is not known here")),
         ("sysctls: [", (1, 11, "not YAML: did not find expected node content") if LIBYAML else
          (1, 11, "not YAML: expected the node content, but found '<stream end>'")),
         ("sysctls: \x07", (1, 10, f"{'control' if LIBYAML else 'special'} characters are not allowed")),
         ("sysctls:\n  a: {{ x }}: 1",
          (2, 13, f"not YAML: mapping values are not allowed {'in this context' if LIBYAML else 'here'}")),
         ("sysctls: " + "[" * 5000, (0, 0, "nested too deeply"))],
    )  # fmt: skip
    def test_content_from_elsewhere_is_reported(self, given, text, place):
        assert troubles(given("a.yml", text))[0] == place

    @pytest.mark.parametrize(
        ("text", "place"),
        [("command: [sysctl, -w, net.a=1]", 1), ("command: [sh, -c, 'sysctl -w net.a=1']", 1),
         ("command: [sysctl]\nargs: [-w, net.a=1]", 1), ("command: sysctl -w net.a=1", 1),
         ("- shell: echo 1 > /proc/sys/net/a", 1), ("- shell: |\n    true\n    sysctl -w net.a=1\n", 3),
         ("- command: {argv: [/sbin/sysctl, net.a=1]}", 1), ("x: 'echo 1 | sudo tee -a /proc/sys/net/a'", 1),
         ("- shell: |\n    true\n    cat <<E >/etc/sysctl.d/x.conf\n    net.a=1\n"
          "    E\n    sysctl -p /etc/sysctl.d/x.conf", 4),
         ("runcmd:\n- echo net.a=1 >> /etc/sysctl.conf\n- sysctl -p", 2),
         ("runcmd:\n- echo net.a=1 >> /etc/sysctl.conf\n- [sysctl, -p, /etc/sysctl.conf]", 2),
         ("x: docker run --sysctl net.a=1 alpine", 1), ("x: [docker, run, --sysctl=net.a=1]", 1)],
    )  # fmt: skip
    def test_a_command_is_read_as_a_shell_reads_it(self, given, text, place):
        (line,) = read([given("a.yml", f"{text}\n")])
        assert (line.key, line.value, line.line) == ("net.a", "1", place)

    @pytest.mark.parametrize(
        ("text", "place"),
        [("- shell: |\n    true\n    sysctl -p\n",
          (3, 1, "sysctl -p reads /etc/sysctl.conf. Hint: give that file itself")),
         ("x: dd of=/proc/sys/net/a",
          (1, 4, "a sysctl is set here in a way that is not supported: dd of=/proc/sys/net/a")),
         ("- shell: cp x.conf /etc/sysctl.d/", (1, 10, "a file of sysctls is written here: cp x.conf /etc/sysctl.d/. "
                                                       "Hint: give that file itself")),
         ("command: [cp, x.conf, /etc/sysctl.d/]",
          (1, 10, "a file of sysctls is written here: cp x.conf /etc/sysctl.d/. Hint: give that file itself")),
         ("- shell: sysctl -w net.a={{ x }}", (1, 10, "the template 'sysctl -w net.a={{ x }}' is not known here")),
         (f"command: [sysctl, -w, net.a={'1' * 300}]",
          (1, 10, "a command that sets sysctls, and is too long to be read here. Hint: give it as a script"))],
    )  # fmt: skip
    def test_a_command_that_only_a_shell_can_evaluate_is_reported(self, given, text, place):
        assert troubles(given("a.yml", f"{text}\n")) == [place]

    @pytest.mark.parametrize("text", ["command: sysctl --system", "shell: sysctl -q --system", "x: [sysctl, --system]"])
    def test_a_command_that_loads_the_machines_files_sets_nothing(self, given, text):
        assert settings(given("a.yml", f"{text}\nsysctls: {{{SACK}: 0}}")) == [(SACK, "0")]

    @pytest.mark.parametrize(
        ("text", "place"),
        [("- copy: {dest: /etc/sysctl.d/9.conf, src: x}", (1, 16, "/etc/sysctl.d/9.conf")),
         ("- ansible.builtin.template: {src: a.j2, dest: '{{ etc }}/sysctl.d/a'}", (1, 47, "{{ etc }}/sysctl.d/a")),
         ("- copy: {src: '{{ item.a }}', dest: '{{ item.b }}'}\n  loop: [{a: x, dest: /etc/sysctl.conf}]",
          (2, 23, "/etc/sysctl.conf")),
         ("- template: src=a.j2 dest=/etc/sysctl.d/a.conf mode=0644", (1, 13, "/etc/sysctl.d/a.conf")),
         ("- template: {src: a.j2, dest: '{{ sysctl_dir }}/a.conf'}", (1, 31, "{{ sysctl_dir }}/a.conf")),
         ("- template: src=a.j2 dest={{ sysctl_file }} mode=0644", (1, 13, "{{ sysctl_file }}")),
         (f"- replace: {{path: /etc/sysctl.conf, regexp: a, replace: {SACK}=0}}", (1, 19, "/etc/sysctl.conf")),
         ("- lineinfile: {path: /etc/sysctl.conf, regexp: x, state: absent}", (1, 22, "/etc/sysctl.conf")),
         (f"- lineinfile: path=/etc/sysctl.conf line='{SACK}=0'", (1, 15, "/etc/sysctl.conf")),
         ("- file: {src: /a, dest: /etc/sysctl.d/a.conf, state: link}", (1, 25, "/etc/sysctl.d/a.conf")),
         ("write_files:\n- path: /etc/sysctl.d/a.conf\n  encoding: b64\n  content: bmV0",
          (2, 9, "/etc/sysctl.d/a.conf")),
         ("storage: {files: [{path: /etc/sysctl.d/a.conf, contents: {source: 'data:,x'}}]}",
          (1, 26, "/etc/sysctl.d/a.conf"))],
    )  # fmt: skip
    def test_a_command_that_writes_a_file_of_sysctls_is_reported(self, given, text, place):
        line, column, file = place
        why = f"settings written to {file}. Hint: give that file itself"
        assert troubles(given("a.yml", f"{text}\n")) == [(line, column, why)]
        assert troubles(given("user-data", f"#cloud-config\n{text}\n")) == [(line + 1, column, why)]

    @pytest.mark.parametrize(
        ("text", "place"),
        [(f"kind: ConfigMap\ndata:\n  9-x.conf: |\n    # why\n    true\n    {SACK} = 0\n", (3, 13)),
         ("binaryData: {9-sysctl.conf: bmV0}", (1, 29)),
         ("files: {/etc/sysctl.d/a.conf: {content: {Fn::Join: [x]}}}", (1, 31)),
         (f"- lineinfile: {{path: '{{{{ x }}}}', line: {SACK} = 0}}", (1, 39))],
    )  # fmt: skip
    def test_the_content_of_a_file_of_sysctls_is_reported(self, given, text, place):
        why = "settings as in a file of sysctls. Hint: give them as a file of their own"
        assert troubles(given("a.yml", text)) == [(*place, why)]

    @pytest.mark.parametrize(
        ("text", "place"),
        [(f"- copy: {{dest: /etc/sysctl.d/9.conf, content: '{SACK}=0'}}", 1),
         (f"- lineinfile: {{path: /etc/sysctl.conf, line: {SACK}=0}}", 1),
         (f"- blockinfile:\n    path: /etc/sysctl.conf\n    block: |\n      # why\n      {SACK}=0", 5),
         (f"write_files:\n- path: /etc/sysctl.d/a.conf\n  content: |\n    # why\n    {SACK} = 0", 5),
         (f"storage: {{files: [{{path: /etc/sysctl.d/a.conf, contents: {{inline: {SACK}=0}}}}]}}", 1),
         (f"kind: ConfigMap\ndata:\n  9-x.conf: |\n    # why\n\n    {SACK} = 0\n", 6),
         (f'{{"kind": "ConfigMap", "data": {{"9-x.conf": "{SACK} = 0\\n"}}}}', 1),
         (f"data:\n  tuning: |\n    [main]\n    summary=x\n    [sysctl]\n    {SACK}=0 # why\n", 6),
         (f"annotations: {{security.alpha.kubernetes.io/sysctls: {SACK}=0}}", 1),
         (f"sysctls: |\n  {SACK}=0\n", 1), (f"x: ['{SACK}=0']", 1)],
    )  # fmt: skip
    def test_what_a_file_of_sysctls_is_given_is_read(self, given, text, place):
        (line,) = read([given("a.yml", text)])
        assert (line.key, line.value, line.line) == (SACK, "0", place)

    def test_commands_that_write_no_file_of_sysctls_set_nothing(self, given):
        text = (
            "- stat: {path: /etc/sysctl.conf}\n- stat: path=/etc/sysctl.conf\n"
            "- file: {dest: /etc/sysctl.d, state: directory}\n- file: {path: /etc/sysctl.d/x.conf, state: absent}\n"
            "- copy: {src: /etc/sysctl.conf, dest: /etc/sysctl.conf.bak}\n- copy: {src: x, dest: /tmp/sysctl.conf}\n"
            "- copy: src=x dest=/etc/sysctl.d/x.conf.bak\n- {description: 'net.core.x = 1'}\n"
            "- volumeMounts: [{mountPath: /etc/sysctl.d}]\n- {name: to sysctl.conf, replace: {path: /x}}\n"
            "- {a.conf: 'vm.run = main', x: about net.core.x=1}\n"
        )
        task = f"- sysctl: {{name: {SACK}, value: 0, sysctl_file: /etc/sysctl.d/x.conf}}\n"
        assert settings(given("a.yml", text + task)) == [(SACK, "0")]

    def test_commands_that_only_read_or_describe_set_nothing(self, given):
        text = "name: run sysctl -w a=1\nx: [sysctl, -n, a]\ny: cat /proc/sys/net/a\nmountPath: /proc/sys/net\n"
        assert settings(given("a.yml", text + f"sysctls: {{{SACK}: 0}}")) == [(SACK, "0")]

    @pytest.mark.parametrize("value", ["1", "'" + "{{item}}" * 40 + "'", "'$'", "*s"])
    def test_a_hundred_tasks_over_ten_thousand_items_are_bounded(self, given, value, in_time):
        task = "- sysctl: {name: 'a.{{item}}', value: " + value + "}\n  loop: *a\n"
        text = f"- &s {'y' * 100_000}\n- &a [&i x{', *i' * 10_000}]\n{task * 100}"
        with in_time(text):
            assert len(troubles(given("a.yml", text))) == 1, "the same place each time"

    @pytest.mark.parametrize(
        "text",
        ["x: 'tee " + " " * 500_000 + "/proc/sys/'", "x: " + "install sed sysctl.d " * 40_000,
         "- {dest: " + "sysctl" * 150_000 + "}",
         "- [&i '" + "cp sysctl.d " * 28 + "']\n" + ("- [" + "*i, " * 49 + "]\n") * 400, "x: " + "sysctl " * 100_000,
         "x: &x [" + "&i " + "sysctl " * 30 + ", *i" * 99 + "]\n" + "y:\n" + "- [" + "*i, " * 99 + "]\n" * 1000,
         "- &s 'sysctl= " + "x " * 50_000 + "'\n" + "- sysctl: *s\n" * 5000],
    )  # fmt: skip
    def test_hostile_manifests_take_no_time(self, given, text, in_time):
        with in_time(text), contextlib.suppress(Malformed):
            read([given("a.yml", text)])

    def test_a_merged_pair_counts_only_without_a_pair_of_that_name(self, given):
        text = (
            f"x: &a {{{SACK}: 0, net.ipv4.tcp_dsack: 0}}\ny: &b {{<<: *a, net.ipv4.tcp_fack: 1}}\n"
            f"web: {{sysctls: {{<<: [*b], {SACK}: 1}}}}\n"
        )
        assert settings(given("a.yml", text)) == [
            (SACK, "1"), ("net.ipv4.tcp_fack", "1"), ("net.ipv4.tcp_dsack", "0")
        ]  # fmt: skip
        assert len(troubles(given("b.yml", "web: {sysctls: {<<: 7}}"))) == 1

    def test_merges_of_merges_are_bounded(self, given, in_time):
        levels = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 99)}]}}\n" for n in range(1, 30))
        text = f"a0: &a0 {{{', '.join(f'a.b{n}: 1' for n in range(99))}}}\n{levels}web: {{sysctls: {{<<: *a4}}}}\n"
        with in_time(text):
            assert len(troubles(given("a.yml", text))) >= 1
            assert len(troubles(given("b.yml", text.replace("*a4}}", "*a29}}")))) >= 1
        chain = "a0: &a0 {a.b: 1}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}}}\n" for n in range(1, 2000))
        assert len(troubles(given("c.yml", f"{chain}web: {{sysctls: {{<<: *a1999}}}}\n"))) == 1

    def test_two_conditional_tasks_for_one_key_are_reported(self, given):
        task = "- sysctl: {{name: {0}, value: {1}}}\n  when: {2}\n"
        text = task.format(SACK, 0, "x") + task.format(SACK, 1, "not x")
        ((line, _, why),) = troubles(given("a.yml", text))
        assert (line, why.endswith(", but has another value under a condition")) == (3, True)

    def test_two_containers_do_not_override_each_other(self, given):
        services = "services:\n  a: {{sysctls: {{{0}: 1}}}}\n  b:\n    sysctls:\n    - {0}={1}\n"
        assert [line.container for line in read([given("a.yml", services.format(SACK, 0))])] == [1, 2]
        shared = f"a: {{sysctls: &s {{{SACK}: 0}}}}\nb: {{sysctls: *s}}\n"
        assert [line.container for line in read([given("c.yml", shared)])] == [1, 2]

    def test_no_object_is_made_and_anchors_cannot_multiply(self, given, tmp_path):
        mark = tmp_path / "mark"
        laughs = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]" for n in range(30))
        text = f"x: !!python/object/apply:os.system ['touch {mark}']\n{laughs}\nloop: &l [*l]\nsysctls: {{{SACK}: 0}}\n"
        assert settings(given("a.yml", text)) == [(SACK, "0")]
        assert not mark.exists()
