"""The formats of files with sysctls: how they are recognised, which parts are read, and which are not, and why."""

import contextlib
import json
import time

import pytest

from harness.sysctl_files import formats
from harness.sysctl_files.lines import Malformed
from harness.sysctl_files.names import in_linux, is_name
from harness.sysctl_files.read import read, read_some

SACK, CORE, FIN = "net.ipv4.tcp_sack", "net.core.somaxconn", "net.ipv4.tcp_fin_timeout"


@pytest.fixture
def given(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def settings(path):
    return [(line.key, line.value, line.line) for line in read([path])]


def refused(path):
    """Why a file is refused; each place once."""
    with pytest.raises(Malformed) as raised:
        read([path])
    return [(place.line, place.why) for place in raised.value.places]


class TestAnyStructure:
    @pytest.mark.parametrize(
        "text",
        [f"hardening: {{{FIN}: 15}}", f"hardening: [{{name: {FIN}, value: 15}}]", f"x: [{{key: {FIN}, val: 15}}]",
         f"x: [{{sysctl: {FIN}, value: 15}}]", f"x: [{{Name: {FIN}, Value: 15}}]", f"x: ['{FIN}=15']", f"x: {FIN}=15",
         f"kind: SysctlConfig\nparams: {{{FIN}: '15'}}", f"sysctl: {{{FIN}: 15}}", f"{FIN}: {{value: 15}}",
         f"a: {{systemControls: [{{namespace: {FIN}, value: '15'}}]}}", "net: {ipv4: {tcp_fin_timeout: 15}}",
         "net: {ipv4.tcp_fin_timeout: 15}", "net/ipv4/tcp_fin_timeout: 15", f"/proc/sys/{FIN.replace('.', '/')}: 15",
         f"{FIN}: {{sysctl.present: [{{value: 15}}]}}", f"tune: {{sysctl.present: [{{name: {FIN}}}, {{value: 15}}]}}",
         f"tune:\n  sysctl.present: {{name: {FIN}, value: 15}}", f"a: {{Sysctls: {{{FIN}: 15}}}}",
         f"machine: {{sysctls: {{{FIN}: 15}}}}",
         f"config: {{linux.sysctl.{FIN}: 15}}", f"- a\n- - b\n  - {{c: [{{{FIN}: 15}}]}}"],
    )  # fmt: skip
    @pytest.mark.parametrize("name", ["a.yml", "a.sls"])
    def test_a_name_with_a_value_is_a_setting_anywhere(self, given, name, text):
        assert [(key.removeprefix("proc.sys."), value) for key, value, _ in settings(given(name, text))] == [
            (FIN, "15")
        ]

    @pytest.mark.parametrize(
        ("text", "line"),
        [(f"allowedUnsafeSysctls:\n- {FIN}\n", 2), (f"x:\n  a: 1\n  b: {FIN}\n", 3), (f"{FIN}:\n", 1),
         (f"x:\n  {FIN}: [1, 2]\n", 2), (f"- name: {FIN}\n  command: x\n", 1), (f"x:\n  {FIN}: {{a: 1}}", 2),
         (f"{FIN}: {{sysctl.present: [{{name: b}}]}}", 1), (f"x: [{{name: {FIN}, is: 5}}]", 1),
         ("x: [vm.swappiness, kernel.panic]", 1), ("x: net.netfilter.nf_conntrack_max", 1)],
    )  # fmt: skip
    def test_a_name_without_a_value_is_reported(self, given, text, line):
        found = refused(given("a.yml", text))
        assert {place for place, _ in found} == {line}

    @pytest.mark.parametrize(
        "text",
        ["x: kernel.org\n", "x: vm.args\n", "x: fs.js\ny: net.py\n", "image: dev.example.org/a\n",
         "host: net.example.com\n",
         "fs.defaultFS: hdfs://a\n", "user.name: me\n", "x: net/http\n", "annotations: {dev.example.com/x: 'yes'}\n",
         f"- name: {FIN}\n  ansible.posix.sysctl: {{name: {FIN}, value: 1}}\n"],
    )  # fmt: skip
    def test_texts_that_only_look_like_names_are_ignored(self, given, text):
        assert [key for key, _, _ in settings(given("a.yml", text))] in ([], [FIN])

    def test_sysctls_merged_into_a_container_are_not_the_hosts(self, given):
        text = (
            f"x-sysctls: &s {{{FIN}: 15}}\nservices: {{a: {{image: x, sysctls: *s}}, b: {{image: x, sysctls: *s}}}}\n"
        )
        assert [line.container for line in read([given("a.yml", text)])] == [1, 2]

    def test_the_containers_of_a_pod_have_one_network(self, given):
        spec = (
            f"securityContext: {{sysctls: [{{name: {FIN}, value: '1'}}]}}, "
            f"initContainers: [{{image: x, command: [sh, -c, 'sysctl -w {SACK}=0']}}], containers: [{{image: y}}]"
        )
        found = read([given("a.yml", f"spec: {{{spec}}}\n---\nspec: {{hostNetwork: true, {spec}}}\n")])
        assert [(line.key, line.container > 0, line.at_start) for line in found][:3] == [
            (SACK, True, False), (FIN, True, True), (SACK, False, False)
        ] or [line.container for line in found[:2]] == [1, 1]  # fmt: skip

    def test_a_loop_over_variables_of_the_same_file_is_known(self, given):
        task = "- ansible.posix.sysctl: {name: '{{ item.key }}', value: '{{ item.value }}'}\n  "
        variables = f"- hosts: x\n  vars: {{tune: {{{FIN}: 15, a.b: yes}}}}\n"
        for loop in ("loop: '{{ tune | dict2items }}'", "with_dict: '{{ tune }}'"):
            assert settings(given("a.yml", variables + task + loop)) == [(FIN, "15", 2), ("a.b", "1", 2)]
        pairs = f"tune: [{{key: {FIN}, value: 15}}]\n"
        assert settings(given("b.yml", pairs + "tasks:\n" + task + "loop: '{{ tune }}'")) == [(FIN, "15", 1)]
        renamed = task.replace("item.", "kv.") + "loop: '{{ tune }}'\n  loop_control: {loop_var: kv}\n"
        assert settings(given("d.yml", pairs + "tasks:\n" + renamed)) == [(FIN, "15", 1)]
        one = f"- hosts: x\n  vars: {{n: 15}}\n- sysctl: {{name: {FIN}, value: '{{{{ n }}}}'}}\n"
        assert settings(given("c.yml", one)) == [(FIN, "15", 3)]

    def test_a_variable_with_two_values_is_unknown(self, given):
        text = f"- vars: {{n: 15}}\n- vars: {{n: 16}}\n- sysctl: {{name: {FIN}, value: '{{{{ n }}}}'}}\n"
        assert refused(given("a.yml", text)) == [(3, "the template '{{ n }}' is not known here")]

    def test_a_loop_with_an_unknown_item_is_reported_item_by_item(self, given):
        text = f"- sysctl: {{name: '{{{{ item.n }}}}', value: '{{{{ x }}}}'}}\n  loop:\n  - {{n: {FIN}}}\n"
        assert {line for line, _ in refused(given("a.yml", text))} == {1, 3}

    @pytest.mark.parametrize("value", ["${X:-15}", "${X-15}"])
    def test_a_default_is_used_and_reported(self, given, value):
        (line,) = read([given("a.yml", f"services: {{a: {{sysctls: {{{FIN}: '{value}'}}}}}}")])
        assert (line.value, line.note) == ("15", f"the default of {value}")
        text = f'- sysctl: {{name: {FIN}, value: "{{{{ x | default(15) }}}}"}}'
        (line,) = read([given("b.yml", text)])
        assert (line.value, line.note) == ("15", "the default of {{ x | default(15) }}")


class TestOtherSyntax:
    def test_json_with_tabs(self, given):
        text = json.dumps({"sysctls": {FIN: "15"}, "x": "a\tb\\u0041\U0001f600"}, indent="\t")
        assert settings(given("a.json", text)) == [(FIN, "15", 3)]
        assert settings(given("a", text)) == [(FIN, "15", 3)]

    def test_a_text_that_is_not_json_is_reported_as_such(self, given):
        assert refused(given("a.json", '{"sysctls": {\n"a" 1}}')) == [(2, "not JSON: Expecting ':' delimiter")]

    @pytest.mark.parametrize(
        ("text", "line"),
        [(f'[settings.kernel.sysctl]\n"{FIN}" = "15"\n', 2), (f"[a]\n{FIN} = 15\n", 2),
         (f'[containers]\ndefault_sysctls = [\n  "{FIN}=15",\n]\n', 3), (f'[[s]]\nname = "{FIN}"\nvalue = 15\n', 2)],
    )  # fmt: skip
    def test_toml(self, given, text, line):
        for name in ("a.toml", "a"):
            assert settings(given(name, text)) == [(FIN, "15", line)]

    def test_a_text_that_is_not_toml_is_reported_with_its_place(self, given):
        assert refused(given("a.toml", "[sysctl]\nx = \n")) == [(2, "not TOML: Invalid value")]

    TUNED = f'[main]\nsummary=x\n[variables]\nn=15\n[sysctl]\n{FIN}=${{n}} # why\n{CORE} = 1\n{CORE} = "2"\n'

    @pytest.mark.parametrize("name", ["tuned.conf", "a.ini", "a"])
    def test_tuned(self, given, name):
        """The last of two lines counts, because tuned keeps them in one dictionary."""
        assert settings(given(name, self.TUNED)) == [(FIN, "15", 6), (CORE, "2", 8)]

    @pytest.mark.parametrize(
        ("line", "why"),
        [(f"{FIN}=>15", f"{FIN}=>15: tuned compares this with the current value, and may keep that"),
         (f"{FIN}=${{f:x}}", f"{FIN}=${{f:x}}: the value that tuned inserts is not known here"),
         (f" {FIN}=1", f"'{FIN}=1': tuned reads an indented line as part of the value before it"),
         ("oops", "no '=' in 'oops'")],
    )  # fmt: skip
    def test_values_that_only_tuned_knows_are_reported(self, given, line, why):
        assert refused(given("tuned.conf", f"[sysctl]\n{CORE}=1\n{line}\n")) == [(3, why)]

    def test_quadlet(self, given):
        text = f'[Container]\nImage=x\nSysctl={FIN}=15 {SACK}=0\nSysctl="net.ipv4.tcp_rmem=1 2 3"\n[Install]\n'
        found = read([given("a.container", text)])
        assert [(line.key, line.value, line.container, line.at_start) for line in found] == [
            (FIN, "15", 1, True), (SACK, "0", 1, True), ("net.ipv4.tcp_rmem", "1 2 3", 1, True)
        ]  # fmt: skip

    @pytest.mark.parametrize("name", ["PodmanArgs", "GlobalArgs"])
    def test_quadlet_arguments_of_podman(self, given, name):
        text = f"[Container]\nSysctl={FIN}=15\n{name}=--sysctl {SACK}=0 --init '--sysctl={CORE}=1'\n"
        found = read([given("a.container", text)])
        assert [(line.key, line.value, line.line, line.container, line.at_start) for line in found] == [
            (FIN, "15", 2, 1, True), (SACK, "0", 3, 1, True), (CORE, "1", 3, 1, True)
        ]  # fmt: skip

    def test_quadlets_podman_arguments_come_last(self, given):
        text = f"[Container]\nPodmanArgs=--sysctl {FIN}=15\nSysctl={FIN}=16\nPodmanArgs=--init\n"
        found = read([given("a.container", text)])
        assert [(line.value, line.line) for line in found] == [("16", 3), ("15", 2)], (
            "in the order in which they are written"
        )

    @pytest.mark.parametrize("option", [f"--sysctl {FIN}=$X", f"--sysctl={FIN}=%i"])
    def test_quadlet_arguments_that_systemd_expands_are_reported(self, given, option):
        (place,) = refused(given("a.container", f"[Container]\nPodmanArgs={option}\n"))
        assert place == (2, f"{option[9:]}: the value that systemd inserts is not known here")

    @pytest.mark.parametrize("parent", ["throughput", "throughput # why", "a, throughput"])
    def test_the_parent_of_a_tuned_profile_is_reported(self, given, parent):
        why = f"include={parent.removesuffix(' # why')}: the parent profile's settings are not read. "
        text = f"[main]\nsummary=x\ninclude={parent}\n[sysctl]\n{FIN}=15\n"
        assert refused(given("tuned.conf", text)) == [(3, f"{why}Hint: give that profile too")]

    @pytest.mark.parametrize(
        "line",
        [f"cmdline=sysctl.{SACK}=0", f"cmdline_x=+quiet sysctl.{SACK}=0 ro", f'cmdline="sysctl/{SACK}=0"',
         f"cmdline=quiet\n  sysctl.{SACK}=0"],
    )  # fmt: skip
    def test_a_sysctl_on_the_kernel_command_line_is_reported(self, given, line):
        why = f"{SACK} is set on the kernel command line, which is not supported. Hint: give it as a sysctl.d file"
        text = f"[sysctl]\n{FIN}=15\n[bootloader]\n{line}\n"
        assert refused(given("tuned.conf", text)) == [(4 + line.count("\n"), why)]

    def test_a_command_line_without_sysctls_is_left_alone(self, given):
        text = f"[main]\ninclude=\n[sysctl]\n{FIN}=15\n[bootloader]\ncmdline=quiet sysctl.x=1 xsysctl.{SACK}=0\n"
        assert settings(given("tuned.conf", text)) == [(FIN, "15", 4)]

    def test_a_systemd_unit(self, given):
        text = (
            f"[Service]\nExecStartPre=-/sbin/sysctl -w \\\n  {FIN}=15\n"
            "ExecStart=/bin/sh -c 'echo 0 > /proc/sys/net/ipv4/tcp_sack'\n"
        )
        assert settings(given("a.service", text)) == [(FIN, "15", 2), (SACK, "0", 4)]


class TestForeignFormats:
    @pytest.mark.parametrize(
        ("name", "text", "what"),
        [("main.tf", f'resource "x" "y" {{\n  sysctls = {{ "{FIN}" = 15 }}\n}}\n', "a Terraform or HCL file"),
         ("x", f'variable "a" {{\n  default = 1\n}}\n{FIN} = 15\n', "a Terraform or HCL file"),
         ("a.nix", "{}", "a Nix expression"),
         ("x", "{ config, ... }:\n{ boot.kernel.sysctl.a = 1; }", "a Nix expression"),
         ("a.pp", f"sysctl {{ '{FIN}': value => 15 }}", "a Puppet manifest"),
         ("x", f"class a {{\n  sysctl {{ '{FIN}': value => 15 }}\n}}", "a Puppet manifest"),
         ("a.rb", "x", "Ruby"),
         ("x", f"sysctl '{FIN}' do\n  value 15\nend\n", "Ruby"),
         ("x", f"default['sysctl']['{FIN}'] = 15\n", "Ruby"),
         ("a.go", "package a\n", "Go"), ("x", f'package a\n\nvar x = "{FIN}=15"\n', "Go"),
         ("x", f"import os\nos.system('sysctl -w {FIN}=15')\n", "Python"), ("x", f"<?xml?>\n<a>{FIN}=15</a>", "XML"),
         ("a.conf.j2", f"{{% if x %}}\n{FIN} = 15\n{{% endif %}}\n", "a Jinja template"),
         ("a.conf", f"{{%- for x in y %}}\n{FIN} = 15\n{{% endfor %}}\n", "a Jinja template"),
         ("a.sh.j2", f"{{% if x %}}\nsysctl -w {FIN}=15\n{{% endif %}}\n", "a Jinja template"),
         ("a.sls", f"{{% if x %}}\n{FIN}:\n  sysctl.present:\n    - value: 15\n{{% endif %}}\n", "a Jinja template"),
         ("a.yaml", f"x:\n{{{{- if .Values.a }}}}\n  {FIN}: 15\n{{{{- end }}}}\n", "a Go template"),
         ("a.tmpl", f"{{{{ range .a }}}}\n{FIN} = 15\n{{{{ end }}}}\n", "a Go template"),
         ("a.conf.erb", f"<% if x %>\n{FIN} = 15\n<% end %>\n", "an ERB template"),
         ("a.tftpl", f"%{{ if x }}\n{FIN} = 15\n%{{ endif }}\n", "a Terraform template")],
    )  # fmt: skip
    def test_a_foreign_format_is_refused_with_a_hint_in_one_sentence(self, given, name, text, what):
        ((_, why),) = refused(given(name, text))
        assert why.startswith(f"this looks like {what}, which is not supported. Hint: ")
        assert read_some([given(name, text)])[0] == [], "nothing is used with --partial either"

    @pytest.mark.parametrize("value", ["{{ x }}", "<%= x %>", "${x}", "@X@", "a{% if b %}c{% endif %}"])
    def test_a_template_inside_a_line_concerns_that_line(self, given, value):
        lines, left_out = read_some([given("a.conf", f"{SACK} = 0\n{FIN} = {value}\n")])
        assert [(line.key, line.line) for line in lines] == [(SACK, 1)]
        assert [(place.line, "the template" in place.why) for place in left_out] == [(2, True)]

    def test_a_file_of_an_unknown_format_is_refused_in_one_sentence(self, given):
        text = f"{FIN} = 15\n" + "some words that set nothing\n" * 50
        ((line, why),) = refused(given("notes", text))
        assert line == 2
        assert why.startswith("not in any supported format (50 lines like this one are not settings). Hint: ")
        assert read_some([given("notes", text)])[0] == []

    @pytest.mark.parametrize(
        ("name", "format"),
        [("a.conf", "sysctl.d"), ("a.sh", "shell"), ("a.yaml", "YAML"), ("a.yml.j2", "YAML"), ("a.json", "JSON"),
         ("a.toml", "TOML"), ("a.service", "INI"), ("x", "sysctl.d")],
    )  # fmt: skip
    def test_the_ending_of_a_name_decides_the_format(self, name, format):
        assert formats.format_of(name, f"{FIN} = 15\n").name == format


class TestScripts:
    @pytest.mark.parametrize(
        "text",
        ["x=`cat /proc/sys/net/core/x`\n", "x=$(</proc/sys/net/core/x)\n",
         "y=$(( $(cat /proc/sys/net/core/x) * 2 ))\n",
         "awk '{print $1}' /proc/sys/net/ipv4/tcp_rmem\n", "diff /proc/sys/net/a /tmp/x\n", "cp /proc/sys/net/a /tmp\n",
         "cut -f1 < /proc/sys/net/a; sort /proc/sys/net/a | uniq -c\n", "sed -n 1p /proc/sys/net/a\n",
         "if [ `sysctl -n net.a` = 1 ]; then true; fi\n", 'echo "now: $(sysctl -n net.a)"\n'],
    )  # fmt: skip
    def test_a_read_is_not_a_write(self, given, text):
        assert settings(given("a.sh", text + f"sysctl -w {SACK}=0\n"))[0][:2] == (SACK, "0")

    @pytest.mark.parametrize(
        "text",
        ["cp /tmp/x /proc/sys/net/a", "sed -i s/1/0/ /proc/sys/net/a", "awk '{print > \"/proc/sys/net/a\"}' x",
         "dd if=x of=/proc/sys/net/a", "install x /proc/sys/net/a", "diff /proc/sys/net/a x > /proc/sys/net/a"],
    )  # fmt: skip
    def test_a_write_is_not_mistaken_for_a_read(self, given, text):
        assert len(refused(given("a.sh", text))) == 1

    @pytest.mark.parametrize(
        ("text", "line"),
        [(f"echo {FIN}=15 > /etc/sysctl.d/9.conf\nsysctl -p /etc/sysctl.d/9.conf", 1),
         (f"echo -e '# why\\n{FIN}=15' >> /etc/sysctl.conf; sysctl -p", 1),
         (f"printf '%s\\n' '{FIN}=15' > /etc/sysctl.d/9.conf && sysctl --system", 1),
         (f"cat <<E > /etc/sysctl.d/9.conf\n# why\n  {FIN} = 15\nE\nsysctl --system", 3),
         (f"cat <<'E' | sudo tee /etc/sysctl.d/9.conf >/dev/null\n{FIN} = 15\nE\n", 2),
         (f"sudo tee -a /etc/sysctl.conf <<-E\n\t{FIN} = 15\n\tE\nsudo sysctl -p", 2),
         (f"F=/etc/sysctl.d/9.conf\ncat > $F <<E\n{FIN} = ${{N:-15}}\nE\nsysctl -p $F", 3),
         (f"N=15\ncat > /etc/sysctl.conf <<E\n{FIN} = $N\nE\n", 3)],
    )  # fmt: skip
    def test_what_is_written_to_a_file_of_sysctls_is_read(self, given, text, line):
        (found,) = read([given("a.sh", text)])
        assert (found.key, found.value, found.line) == (FIN, "15", line)
        assert "is loaded" in found.note

    def test_a_script_without_an_ending_is_known_by_what_it_writes(self, given):
        text = f"%post\ncat > /etc/sysctl.d/9.conf <<E\n{FIN} = 15\nE\n%end\n"
        assert settings(given("ks.cfg", text)) == [(FIN, "15", 3)]

    def test_two_assumptions_are_both_noted(self, given):
        (line,) = read([given("a.sh", f"echo {FIN}=${{N:-15}} > /etc/sysctl.conf")])
        assert line.note == "the default of ${N:-15}; as soon as /etc/sysctl.conf is loaded"

    @pytest.mark.parametrize(
        ("text", "note"),
        [(f"sysctl -w {FIN}=${{N:-15}}", "the default of ${N:-15}"),
         (f"N=15\nsysctl -w {FIN}=$N", "$N is 15 by line 1"),
         (f"N=${{N:-15}}\nsysctl -w {FIN}=$N", "the default of ${N:-15}"),
         (f': "${{N:=15}}"\nsysctl -w {FIN}=$N', "the default of ${N:=15}"),
         (f"export N='15' # why\nsysctl -w {FIN}=\"$N\"", "$N is 15 by line 1")],
    )  # fmt: skip
    def test_a_plain_variable_and_a_default_are_known_and_noted(self, given, text, note):
        (line,) = read([given("a.sh", text)])
        assert (line.value, line.note) == ("15", note)

    @pytest.mark.parametrize(
        "text",
        ["{0}=$N\nN=15", "N=15\nN=16\n{0}=$N", "if x; then\nN=15\nfi\n{0}=$N", "f() {{\nN=15\n}}\n{0}=$N",
         "N=15; read N\n{0}=$N", "N=$(nproc)\n{0}=$N", "x && N=15\n{0}=$N", "for N in 1 2; do\n{0}=$N\ndone",
         "N=15\n{0}=${{N%5}}", "N=15\n. /etc/default/x\n{0}=$N", "N=15\n[ -f x ] && source x\n{0}=$N",
         "f() {{\neval $1=16\n}}\nN=15\nf N\n{0}=$N", "declare -i N=7+8\n{0}=$N", "N=15\n: ${{N:=16}}\n{0}=$N"],
    )  # fmt: skip
    def test_a_variable_that_may_have_another_value_is_unknown(self, given, text):
        found = refused(given("a.sh", text.format(f"sysctl -w {FIN}")))
        assert all(why.endswith("the value that the shell inserts is not known here") for _, why in found)

    @pytest.mark.parametrize(
        "change",
        ["((N*=2))", "((N++))", "(( --N ))", "(( N = N + 1 ))", "x=$((N<<=1))", "for ((N=0; N<3; N++)); do :; done",
         "((\n  N += 1\n))", "let N*=2", "let 'N = N * 2'", "printf -v N 7", "printf -vN '%s' 7", "unset -v M N",
         "unset N",
         "while getopts ab: N; do :; done", "mapfile -t N < x", "readarray N < x", "read -rp 'how many; now? ' N",
         "declare -n R=N\nR=16", "f() { local -n R=$1; R=16; }\nf N", 'f() { printf -v "$1" 16; }\nf N',
         'read -r "$X" < x', "N[0]=16", 'export "N=16"', "exec {N}>x", "select N in 1 2; do break; done"],
    )  # fmt: skip
    def test_a_variable_that_is_changed_otherwise_is_unknown(self, given, change):
        text = f"N=15\nP=/proc/sys/net/ipv4/tcp_fin_timeout\n{{}}\nsysctl -w {FIN}=$N\necho 1 > $P\n"
        why = "the value that the shell inserts is not known here"
        for name, troubles in (("N", [f"{FIN}=$N: {why}"]), ("P", [f"/proc/sys/$P=1: {why}"])):
            changed = change.replace("N", name)
            if "$" in change.replace("$(", "") and name == "P":  # which variable it is, is not known
                continue
            assert [each for _, each in refused(given("a.sh", text.format(changed)))] == troubles

    @pytest.mark.parametrize(
        "use",
        ["(( N == 2 || N <= 3 ))", "x=$((N * 2))", "let x=$N+1", "printf '%s' N", "read -r was < /x/$N", "export N",
         "docker run --N x", 'echo "N=$N"', "unset x", "declare -n R=x", 'read -p "$N" x'],
    )  # fmt: skip
    def test_a_variable_that_is_only_used_stays_known(self, given, use):
        assert settings(given("a.sh", f"N=15\n{use}\nsysctl -w {FIN}=$N\n")) == [(FIN, "15", 3)]

    def test_a_value_with_unquoted_spaces_has_a_hint(self, given):
        found = refused(given("a.sh", "sysctl -w net.ipv4.ip_local_port_range=1024 65535"))
        assert found == [(1, "'65535' is not KEY=VALUE. Hint: quote a value with spaces: 'key=1 2'")]


class TestStrictAndPartial:
    def test_a_strict_run_has_what_could_be_read_as_well(self, given):
        path = given("a.sh", f"sysctl -w {SACK}=0\nsysctl -w {FIN}=$N\n")
        with pytest.raises(Malformed) as raised:
            read([path])
        assert [line.key for line in raised.value.lines] == [SACK]
        assert f"  {path}:1: {SACK} = 0" in str(raised.value)
        lines, left_out = read_some([path])
        assert ([line.key for line in lines], [place.line for place in left_out]) == ([SACK], [2])

    def test_a_secret_is_not_in_what_a_strict_run_lists(self, given):
        path = given("a.sh", "sysctl -w net.ipv4.tcp_fastopen_key=1-2-3-4\nsysctl -w oops\n")
        with pytest.raises(Malformed) as raised:
            read([path])
        assert "tcp_fastopen_key = (secret)" in str(raised.value)
        assert "1-2-3-4" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "value", "known"),
    [(CORE, "", True), ("net/core/somaxconn", "", True), ("vm.swappiness", "", True), ("kernel.panic", "", True),
     ("kernel.yama.ptrace_scope", "", True), ("fs.inotify.max_user_watches", "", True),
     ("net.ipv4.conf.eth0.rp_filter", "", True),
     ("net.example.com", "", False), ("net.example.com", "5", True), ("kernel.img", "", False), ("vm.foo", "", False),
     ("vm.foo", "{{ x }}", True), ("net", "", False), ("net.core", "", False), ("a net.core.x", "", False)],
)  # fmt: skip
def test_texts_that_have_the_form_of_a_name(text, value, known):
    assert is_name(text, value) is known


def test_the_source_file_of_a_key():
    assert in_linux("net.bridge.bridge-nf-call-iptables") == "net/bridge/br_netfilter_hooks.c"
    assert in_linux("net.ipv4.conf.eth0/200.rp_filter") == "net/ipv4/devinet.c"
    assert in_linux("net.ipv4.no_such") == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", "[" * 100_000), ("a.json", '{"net.core.x":' * 20_000),
     ("a.json", '{"sysctls": {' + '"a": 1, ' * 90_000 + '"b": 1}}'),
     ("a.toml", "x = " + "[" * 100_000), ("a.toml", "".join(f'"\\u0061{n}" = "net"\n' for n in range(15_000))),
     ("a.toml", "a." * 100_000 + "net = 1"), ("a.toml", "x = " + "9" * 100_000 + " # net"),
     ("a.toml", "".join(f"[{'a.' * 20}b{n}]\nnet=1\n" for n in range(4_000))),
     ("a.ini", "[sysctl]\n" + "net.x=\\\n" * 100_000),
     ("a.service", "[Service]\nExecStart=" + "sysctl -w a=1 \\\n" * 60_000),
     ("a.ini", "[variables]\na=" + "${a}" * 100_000 + "\n[sysctl]\n" + "x=${a}\n" * 1000),
     ("a.yml", "- &s 'net.a" + "x" * 100_000 + "'\n" + "- {name: vm.x, value: *s}\n" * 5000),
     ("a.yml", "net: &a {ipv4: &b {x: 1}}\n" + "- " * 50_000), ("a.yml", "net: " + "{net: " * 3000),
     ("a.yml", "- &a {net: {ipv4: {tcp_sack: 1}}}\n" + "- {net: *a, vm: *a}\n" * 8_000),
     ("a.yml", "".join(f"a{n}: &a{n} {{{', '.join(f'k{m}: *a{n - 1}' for m in range(99)) if n else ''}}}\n"
                       for n in range(9)) + "net: *a8\n"),
     ("a.yml", "- &m {" + ", ".join(f"k{n}: net" for n in range(9000)) + "}\n- &s [" + "*m, " * 9000 + "]\n"
      + "- {a: {sysctl.present: *s}, vars: *m}\n" * 5000),
     ("a.yml", "- &s '" + "# net\n\n" * 50_000 + "'\n" + "- {dest: /etc/sysctl.d/x.conf, content: *s}\n" * 8000),
     ("a.yml", "- &s [" + "sysctl, " * 49 + "]\n" + "- {command: [a], args: *s}\n" * 20_000),
     ("x", "resource " + "{ " * 400_000), ("x", "{" * 500_000 + "..."), ("x", "class a " + " " * 900_000),
     ("x", "[a]\n" + "a" * 900_000), ("x", "<%" * 400_000), ("x.j2", "{{" * 400_000),
     ("a.sh", "$(" * 30_000 + "sysctl"),
     ("a.sh", "`sysctl " * 8_000), ("a.sh", "sysctl ${a:-" * 5_000),
     ("a.sh", "A=" + "$A" * 30_000 + "\nsysctl -w a=$A\n" * 500),
     ("a.sh", "cat > /etc/sysctl.conf <<E\n" + "net.a=${b:-" * 50_000 + "\nE\n"),
     *(("a.sh", (each * (65_000 // len(each)) + "\n") * 15)
       for each in ("((", "((a[",
                    "let '", 'read $a "', "unset ", "declare -n a ", "export 'a", "--a", "((a ", "${a:="))],
)  # fmt: skip
def test_hostile_texts_take_no_time(given, name, text):
    path, before = given(name, text[: 1 << 20]), time.process_time()
    with contextlib.suppress(Malformed):
        read([path])
    assert time.process_time() - before < 30
