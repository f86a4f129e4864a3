#!/bin/sh
# Makes plans/*.json and logs/*.txt with the real tool. Run it after raising the pinned version and read the difference like code.
# lock_http, lock_pg and lock_s3 were recorded once against a server that holds the lock; the end-to-end suite meets the real ones.
# Usage: report/testdata/make.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tofu=$("$here/../../tools/build.sh" tofu 2>/dev/null | cut -d' ' -f2)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CHECKPOINT_DISABLE=1 TF_CLI_CONFIG_FILE="$work/rc" TF_IN_AUTOMATION=1
: >"$work/rc"
mkdir "$work/p"
cd "$work/p"
t() { "$tofu" "$@" -no-color >/dev/null; }

# What stands before: applied.
cat >main.tf <<'TF'
variable "token" {
  type      = string
  sensitive = true
}
resource "terraform_data" "keep" { input = "same" }
resource "terraform_data" "change" {
  input = { team = "web", zones = ["a", "b", "c"], note = "line one\nline two\nline three\n", doc = jsonencode({ allow = ["read"], deep = { n = 1 } }) }
}
resource "terraform_data" "replace" {
  input            = "v1"
  triggers_replace = ["one"]
}
resource "terraform_data" "gone" { input = "bye" }
resource "terraform_data" "old_name" { input = "moved" }
resource "terraform_data" "forgotten" { input = "stays" }
resource "terraform_data" "many" {
  for_each = toset(["x", "y"])
  input    = each.key
}
resource "terraform_data" "secret" { input = "token ${var.token}" }
output "url" { value = "https://old.example.com" }
output "token" {
  value     = var.token
  sensitive = true
}
TF
export TF_VAR_token=first-secret-token
t init
t apply -auto-approve

# What the change does.
cat >main.tf <<'TF'
variable "token" {
  type      = string
  sensitive = true
}
resource "terraform_data" "keep" { input = "same" }
resource "terraform_data" "change" {
  input = { team = "payments", zones = ["a", "c", "d"], note = "line one\nline 2\nline three\nline four\n", doc = jsonencode({ allow = ["read", "write"], deep = { n = 1 } }) }
}
resource "terraform_data" "replace" {
  input            = "v2"
  triggers_replace = ["two"]
}
resource "terraform_data" "new_name" { input = "moved" }
moved {
  from = terraform_data.old_name
  to   = terraform_data.new_name
}
removed {
  from = terraform_data.forgotten
  lifecycle {
    destroy = false
  }
}
import {
  to = terraform_data.imported
  id = "an-id-from-elsewhere"
}
resource "terraform_data" "imported" {}
resource "terraform_data" "many" {
  for_each = toset(["y", "z"])
  input    = each.key
}
resource "terraform_data" "secret" { input = "token ${var.token}" }
resource "terraform_data" "new" { input = { name = "n", tags = { team = "web" }, empty = "", list = [1, 2] } }
check "reachable" {
  assert {
    condition     = terraform_data.keep.input == "different"
    error_message = "The service does not answer."
  }
}
output "url" { value = "https://new.example.com" }
output "added" { value = terraform_data.new.id }
output "token" {
  value     = var.token
  sensitive = true
}
TF
export TF_VAR_token=second-secret-token
t init
t plan -out=tfplan
"$tofu" show -json tfplan >"$here/plans/all.json"

# A saved plan that is stale, after something else applied.
t apply -auto-approve
"$tofu" apply -no-color tfplan >"$here/logs/stale.txt" 2>&1 && exit 1

# A plan that fails, in two places.
mkdir "$work/broken"
cd "$work/broken"
cat >main.tf <<'TF'
resource "terraform_data" "a" { input = file("${path.module}/absent.txt") }
resource "terraform_data" "b" { input = tonumber("many") }
TF
t init
"$tofu" plan >"$here/logs/plan_failed.txt" 2>&1 && exit 1

# An apply that fails half way.
mkdir "$work/half"
cd "$work/half"
cat >main.tf <<'TF'
resource "terraform_data" "first" { input = 1 }
resource "terraform_data" "second" {
  input = terraform_data.first.output
  provisioner "local-exec" { command = "echo doing; echo 'no such subnet' >&2; exit 3" }
}
resource "terraform_data" "third" { input = terraform_data.second.id }
TF
t init
t plan -out=tfplan
"$tofu" show -json tfplan >"$here/plans/half.json"
"$tofu" apply tfplan >"$here/logs/apply_failed.txt" 2>&1 && exit 1

# A state that somebody else has locked.
mkdir "$work/locked"
cd "$work/locked"
cat >main.tf <<'TF'
resource "terraform_data" "slow" {
  provisioner "local-exec" { command = "touch started; while [ ! -e stop ]; do sleep 0.1; done" }
}
TF
t init
"$tofu" apply -auto-approve >/dev/null 2>&1 &
while [ ! -e started ]; do sleep 0.1; done
"$tofu" plan >"$here/logs/lock_local.txt" 2>&1 && exit 1
touch stop
wait
