// Package config is server.yaml: one struct, read strictly, judged as a whole.
//
// It promises that [Load] either returns a configuration that holds together, every default filled in and every reference read, or an
// [*Error] that lists all faults at once, each with file, line, column, key, what is wrong and how to write it. Nothing else in the
// program reads the file or the environment. Secrets are kept in a type that does not print itself.
//
// Text may contain ${NAME}, which is replaced by an environment variable ("$${" stands for "${"); a secret may be file:PATH, which is
// replaced by the content of that file. A relative path begins at the directory of server.yaml.
//
// Which hosts, executors and channels are built into this binary is for the caller to know: config accepts every name of the contract.
// A Config is read-only once loaded, and then safe for concurrent use.
package config

import (
	"time"

	"github.com/planlatch/planlatch/run"
	"github.com/planlatch/planlatch/selector"
)

// Config is server.yaml. The zero value is not useful; [Default], [Load] and [Parse] make them.
type Config struct {
	// Listen is the address of the HTTP server, host:port. Default 127.0.0.1:8090.
	Listen string `yaml:"listen"`
	// URL is how people and VCS hosts reach us, without a trailing slash; used in links. Default http://<listen>.
	URL string `yaml:"url"`
	// Data is the directory of SQLite, mirrors, blobs, tools and caches; one owner. Default /var/lib/planlatch.
	Data string `yaml:"data"`
	// Database is empty for SQLite in Data, or postgres://user:password@host/name.
	Database Secret `yaml:"database"`
	// Blobs is empty for files in Data, or a bucket: file:///shared/dir, s3://bucket?region=…, gs://…, azblob://….
	Blobs string `yaml:"blobs"`
	// EncryptionKey wraps what is encrypted at rest: base64key://…, awskms://…, gcpkms://…, azurekeyvault://…. Empty: generated into Data.
	EncryptionKey Secret `yaml:"encryption_key"`
	// OldEncryptionKeys are keys of the same form that what is stored may still need: planlatch keys rotate makes them superfluous. Default none.
	OldEncryptionKeys []Secret `yaml:"old_encryption_keys"`
	// AdminToken is the first login. Empty: generated and printed once.
	AdminToken Secret `yaml:"admin_token"`

	VCS       []Host    `yaml:"vcs"`
	Execution Execution `yaml:"execution"`
	Tools     Tools     `yaml:"tools"`
	// Defaults are the rules of every repository; Repos override them key by key. Ask [Config.Rules].
	Defaults        Rules            `yaml:"defaults"`
	Repos           []RepoRules      `yaml:"repos"`
	Commands        Commands         `yaml:"commands"`
	Environments    []Environment    `yaml:"environments"`
	Permissions     []Permission     `yaml:"permissions"`
	ProviderConfigs []ProviderConfig `yaml:"provider_configs"`
	// ModuleCredentials are for private modules. Ask [Config.ModulesFor].
	ModuleCredentials []ModuleCredential `yaml:"module_credentials"`
	Policies          []Policy           `yaml:"policies"`
	Notify            []Notify           `yaml:"notify"`
	Retention         Retention          `yaml:"retention"`
	Disk              Disk               `yaml:"disk"`
	Telemetry         Telemetry          `yaml:"telemetry"`

	wrote map[string]bool // the keys of Defaults that were written
}

// Host is a VCS host.
type Host struct {
	// Name is unique; the webhook path is /webhooks/<name>, and selectors begin with it. Lower case letters, digits and dashes.
	Name string `yaml:"name" need:"true"`
	Kind string `yaml:"kind" need:"true" oneof:"github gitlab gitea bitbucket_cloud bitbucket_server azuredevops"`
	// URL is the web address, without a trailing slash. Default: the public address of the kind, where there is one.
	URL string `yaml:"url"`
	// APIURL is the API's address. Empty: derived from URL by the adapter.
	APIURL string `yaml:"api_url"`
	// Token or App is how we speak to the host; exactly one of them.
	Token Secret `yaml:"token"`
	App   App    `yaml:"app"`
	// WebhookSecret signs deliveries. Required.
	WebhookSecret Secret `yaml:"webhook_secret" need:"true"`
	// Repos is the allow-list of owner/name patterns; "!" excludes, the last match wins. Required. Ask [Host.Allows].
	Repos []string `yaml:"repos" need:"true"`
}

// App is a GitHub App. InstallationID 0 means: look it up by repository.
type App struct {
	ID             int64  `yaml:"id"`
	PrivateKey     Secret `yaml:"private_key"`
	InstallationID int64  `yaml:"installation_id"`
}

// Execution is how runs execute.
type Execution struct {
	// Workers is how many runs execute at once. 0, the default: the number of CPUs.
	Workers int `yaml:"workers" least:"0"`
	// Executor is where they execute. Default local.
	Executor string `yaml:"executor" oneof:"local docker kubernetes agent"`
	// Sandbox is required (default), auto (may lose namespaces, with a warning) or off.
	Sandbox string `yaml:"sandbox" oneof:"required auto off"`
	// PlanTimeout and ApplyTimeout bound a phase. Defaults 30m and 2h.
	PlanTimeout  time.Duration `yaml:"plan_timeout" least:"1"`
	ApplyTimeout time.Duration `yaml:"apply_timeout" least:"1"`
	// OnStop is what a stop of the server does with what runs: wait for applies, where their execution would end with this process; hand_over,
	// where executions outlive it; or auto, the default: what fits the place where the server finds itself.
	OnStop string `yaml:"on_stop" oneof:"auto wait hand_over"`
	// ShutdownWait is how long a stop waits for applies that cannot outlive the process. Default: ApplyTimeout.
	ShutdownWait time.Duration `yaml:"shutdown_wait" least:"0"`
	// NodeTimeout is how long a silent node keeps its runs. Default 2m.
	NodeTimeout time.Duration `yaml:"node_timeout" least:"1"`
	// LockTimeout is how long a run waits for somebody else to free the backend's own lock, before it fails and says who holds it. 0: not
	// at all. Default 1m.
	LockTimeout time.Duration `yaml:"lock_timeout" least:"0"`
	CancelGrace Grace         `yaml:"cancel_grace"`
	Limits      Limits        `yaml:"limits"`
	Network     Network       `yaml:"network"`
	// Environment names variables of the server that runs get, nothing else passes. Default HTTPS_PROXY and SSL_CERT_FILE.
	Environment []string `yaml:"environment"`
	// Binds are extra paths of this machine that runs may see.
	Binds []Bind `yaml:"binds"`
}

// Grace is the time between interrupt and kill. Defaults 30s and 10m.
type Grace struct {
	Plan  time.Duration `yaml:"plan" least:"0"`
	Apply time.Duration `yaml:"apply" least:"0"`
}

// Limits bound one execution; 0 means no limit of that kind. Defaults 4GiB, 512, 4096, 10GiB, 500000, 64MiB.
type Limits struct {
	Memory    Size `yaml:"memory"`
	Processes int  `yaml:"processes" least:"0"`
	// Files is how many each process may have open.
	Files int  `yaml:"files" least:"0"`
	Disk  Size `yaml:"disk"`
	// Inodes is how many files and directories the run directory may hold.
	Inodes int  `yaml:"inodes" least:"0"`
	Log    Size `yaml:"log"`
}

// Network is what runs can reach. Mode open (default) closes metadata, loopback and our own addresses; allow_list and none reach only what
// Allow lists. Package reach says how entries are written; what names many places (*.example.com, 10.1.0.0/16) needs allow_list. Deny are
// networks that stay closed besides. Ask [Config.NetworkOf].
type Network struct {
	Mode  string   `yaml:"mode" oneof:"open allow_list none"`
	Allow []string `yaml:"allow"`
	Deny  []string `yaml:"deny"`
}

// Bind makes an absolute path of this machine visible to runs. Projects defaults to all, Phases to plan and apply.
type Bind struct {
	Path     string        `yaml:"path" need:"true"`
	Write    bool          `yaml:"write"`
	Projects selector.List `yaml:"projects" filled:"true"`
	Phases   []Phase       `yaml:"phases" filled:"true" oneof:"plan apply"`
}

// Phase is a half of a run.
type Phase string

// The phases.
const (
	PhasePlan  Phase = "plan"
	PhaseApply Phase = "apply"
)

// Tools say which tofu and terraform run.
type Tools struct {
	// Default is for projects that pin nothing. Default tofu ~> 1.12.
	Default Tool `yaml:"default"`
	// Allow is a version constraint on what a repository may pin. Default ">=1.5".
	Allow string `yaml:"allow"`
	// Download says whether versions that neither machine nor cache have may be fetched. Default true.
	Download bool `yaml:"download"`
	// Mirror is the base URL of a release mirror: <mirror>/tofu as tofudl makes it, <mirror>/terraform as releases.hashicorp.com.
	Mirror string `yaml:"mirror"`
	// ProviderMirror is a directory, for the providers that it has, or an https URL, for all, given to init as filesystem_mirror or
	// network_mirror.
	ProviderMirror string `yaml:"provider_mirror"`
}

// Tool is a tool by name, and a version or version constraint.
type Tool struct {
	Name    string `yaml:"name" oneof:"tofu terraform"`
	Version string `yaml:"version"`
}

// Rules are what holds for a repository.
type Rules struct {
	// Branches are names or globs; "default" is the default branch. Pull requests into other branches are ignored. Default [default].
	Branches []string `yaml:"branches" filled:"true"`
	// Apply says when projects apply. Default after_merge.
	Apply run.ApplyMode `yaml:"apply" oneof:"after_merge before_merge manual off"`
	// Requirements must hold before an apply, in addition to policies.
	Requirements Requirements `yaml:"requirements"`
	// Lock says when a pull request takes the hold of a project. Default apply.
	Lock run.LockPolicy `yaml:"lock" oneof:"apply plan none"`
	// Parallel is how many projects of one pull request run at once. 0, the default: no limit of its own.
	Parallel int `yaml:"parallel" least:"0"`
	// Comment is how much plan text reaches the pull request. Default full.
	Comment string `yaml:"comment" oneof:"full summary off"`
	// Drafts says whether drafts are planned. Default plan.
	Drafts string `yaml:"drafts" oneof:"plan ignore"`
	// Forks says what happens to pull requests of forks and of authors without write permission: ask (default) waits for a maintainer's plan.
	Forks string `yaml:"forks" oneof:"ask ignore"`
	// OnFailure says whether other projects of the pull request go on after one failed. Default stop.
	OnFailure string `yaml:"on_failure" oneof:"stop continue"`
	// EffectIgnore are attribute paths that do not count when a merged plan is compared. Default none.
	EffectIgnore []string `yaml:"effect_ignore"`
	// Steps are commands of every project besides the tool's own, or in their place. Default none.
	Steps Steps `yaml:"steps"`
	// Links are signed (default) or need a login.
	Links string `yaml:"links" oneof:"signed login"`
	// ProjectStatuses is up to how many projects each gets a status of its own. Default 50.
	ProjectStatuses int `yaml:"project_statuses" least:"0"`
	// AllowRepoConfig are the parts of planlatch.yaml that count. Default [projects, requirements.add].
	AllowRepoConfig []string `yaml:"allow_repo_config" oneof:"projects requirements.add apply tool steps environment"`
}

// Steps are lists of argv; [run.Steps] says when each runs.
type Steps struct {
	BeforeInit  [][]string `yaml:"before_init"`
	BeforePlan  [][]string `yaml:"before_plan"`
	AfterPlan   [][]string `yaml:"after_plan"`
	BeforeApply [][]string `yaml:"before_apply"`
	AfterApply  [][]string `yaml:"after_apply"`
	Init        [][]string `yaml:"init"`
	Plan        [][]string `yaml:"plan"`
	Show        [][]string `yaml:"show"`
	Apply       [][]string `yaml:"apply"`
}

// Requirements are gates that a repository asks for. Default of Apply: approved, mergeable, up_to_date.
type Requirements struct {
	Apply []string `yaml:"apply" oneof:"approved mergeable up_to_date"`
}

// RepoRules are the keys that one entry of repos: overrides for the repositories that Match selects.
type RepoRules struct {
	// Match selects repositories: host/owner/repo, without a directory.
	Match selector.Selector `yaml:"match" need:"true"`
	Rules Rules             `yaml:",inline"`
	// Network stands for execution.network as a whole. Ask [Config.NetworkOf].
	Network Network `yaml:"network"`

	set map[string]bool // the keys of Rules that were written
}

// Commands are how comments command us.
type Commands struct {
	// Prefixes are the first words that make a comment line a command, in lower case. Default [planlatch].
	Prefixes []string `yaml:"prefixes" filled:"true"`
	// Flags are tool flags that comments may give besides those that are always allowed, as in -compact-warnings. Default none.
	Flags []string `yaml:"flags"`
}

// Environment is a named group of projects. The first that matches wins.
type Environment struct {
	Name  string        `yaml:"name" need:"true"`
	Match selector.List `yaml:"match" need:"true"`
}

// Permission is one rule on who may command what. Ask [Config.Permitted].
type Permission struct {
	// Commands are the verbs it decides.
	Commands []string `yaml:"commands" need:"true" oneof:"plan apply approve cancel unlock explain help"`
	// Projects defaults to all.
	Projects selector.List `yaml:"projects" filled:"true"`
	// Users, Teams ("org/team") and everyone with at least the permission Access on the repository may; at least one is given.
	Users  []string `yaml:"users"`
	Teams  []string `yaml:"teams"`
	Access string   `yaml:"access" oneof:"read write admin"`
}

// ProviderConfig is a set of credentials for the projects it names. Ask [Config.Credentials].
type ProviderConfig struct {
	Name     string        `yaml:"name" need:"true"`
	Projects selector.List `yaml:"projects" need:"true"`
	Plan     Identity      `yaml:"plan"`
	Apply    Identity      `yaml:"apply"`
	// Command prints credentials and is run by the server, instead of or besides fixed ones.
	Command CredentialCommand `yaml:"command"`
}

// Identity is what one phase gets: variables of the run's environment, by name.
type Identity struct {
	Env    map[string]Secret `yaml:"env"`                // secret: redacted everywhere
	Values map[string]string `yaml:"values"`             // plain: never redacted
	Files  map[string]Secret `yaml:"files" exact:"true"` // content of a private file, whose path the variable holds
	Argv   []string          `yaml:"command"`            // a command of this phase; short for ProviderConfig.Command
}

// CredentialCommand is an argv per phase. What it printed counts for TTL, default 1h, unless it says otherwise. Environment names variables
// of the server that it gets besides PATH, HOME, execution.environment and the question.
type CredentialCommand struct {
	Plan        []string      `yaml:"plan"`
	Apply       []string      `yaml:"apply"`
	TTL         time.Duration `yaml:"ttl" least:"1"`
	Environment []string      `yaml:"environment"`
}

// Policy is one policy set.
type Policy struct {
	Name string `yaml:"name" need:"true"`
	// Source is builtin:NAME, a directory, or git::https://…?ref=….
	Source string    `yaml:"source" need:"true"`
	Level  run.Level `yaml:"level" need:"true" oneof:"advisory soft hard"`
	// On is what the set judges: plan (default), or source, the code before anything of it runs. builtin:sources judges the source by itself.
	On string `yaml:"on" oneof:"plan source"`
	// Projects defaults to all.
	Projects selector.List `yaml:"projects" filled:"true"`
	// Owners may override soft findings. Required for soft.
	Owners Owners `yaml:"owners"`
	// Rego is the language version, v1 (default) or v0.
	Rego string `yaml:"rego" oneof:"v1 v0"`
	// Settings are what the set's rules read as data.settings. The set says which there are; docs/policies.md lists those that are shipped.
	Settings map[string]any `yaml:"settings"`
}

// Owners own a policy set. Approvals of them must agree to an override; default 1.
type Owners struct {
	Users     []string `yaml:"users"`
	Teams     []string `yaml:"teams"`
	Approvals int      `yaml:"approvals" least:"1"`
}

// Notify is one channel people read.
type Notify struct {
	Name string `yaml:"name" need:"true"`
	Kind string `yaml:"kind" need:"true" oneof:"slack teams webhook"`
	// Token is a Slack bot token and needs Channel; or URL is an incoming webhook, secret as a whole.
	Token   Secret `yaml:"token"`
	Channel string `yaml:"channel"`
	URL     Secret `yaml:"url"`
	// APIURL is for servers that speak Slack's Web API elsewhere, as https://slack-gov.com/api/. Empty: Slack.
	APIURL string `yaml:"api_url"`
	// Secret signs what a generic webhook gets.
	Secret Secret `yaml:"secret"`
	// Events defaults to all.
	Events []string `yaml:"events" filled:"true" oneof:"plan_failed policy_failed needs_approval merge_differs applied apply_failed interrupted state_not_saved hook_down drift"`
	// Projects defaults to all.
	Projects selector.List `yaml:"projects" filled:"true"`
}

// Retention is how long is kept what nobody works with any more; 0: for ever. It never touches audit rows, runs that have not ended or whose
// state is not saved, the newest plan of a project, and what an open pull request shows.
type Retention struct {
	// Logs are the logs and the shown plans of runs, from their end on. Default 90d.
	Logs time.Duration `yaml:"logs" least:"0"`
	// Plans are plan files, their JSON and their lock files, from the end of the run on. Default 30d.
	Plans time.Duration `yaml:"plans" least:"0"`
	// Messages are records of what was posted, of pull requests that are not open. Default 90d.
	Messages time.Duration `yaml:"messages" least:"0"`
	// Deliveries are webhook calls. Default 14d; hosts repeat theirs for days.
	Deliveries time.Duration `yaml:"deliveries" least:"0"`
}

// Disk bounds what the data directory takes; 0: no bound.
type Disk struct {
	// Free is what must be left on its file system for another run to start. Default 1GiB.
	Free Size `yaml:"free"`
	// Caches is the most that providers, tools, mirrors and extracted trees may take together. Default 20GiB.
	Caches Size `yaml:"caches"`
	// Blobs is the most that plans kept in files may take; beyond it those of ended runs go before their time. Default 0.
	Blobs Size `yaml:"blobs"`
}

// Telemetry is what we tell about ourselves. Metrics serves GET /metrics; default true.
type Telemetry struct {
	Metrics      bool   `yaml:"metrics"`
	OTLPEndpoint string `yaml:"otlp_endpoint"`
}

// Default returns the configuration of a server.yaml that says nothing, with its data in dataDir: what demo and embedded servers start
// from. It has no VCS host.
func Default(dataDir string) *Config {
	return &Config{
		Listen: "127.0.0.1:8090",
		URL:    "http://127.0.0.1:8090",
		Data:   dataDir,
		Execution: Execution{
			Executor:     "local",
			Sandbox:      "required",
			PlanTimeout:  30 * time.Minute,
			ApplyTimeout: 2 * time.Hour,
			OnStop:       "auto",
			ShutdownWait: 2 * time.Hour,
			NodeTimeout:  2 * time.Minute,
			LockTimeout:  time.Minute,
			CancelGrace:  Grace{Plan: 30 * time.Second, Apply: 10 * time.Minute},
			Limits:       Limits{Memory: 4 << 30, Processes: 512, Files: 4096, Disk: 10 << 30, Inodes: 500_000, Log: 64 << 20},
			Network:      Network{Mode: "open"},
			Environment:  []string{"HTTPS_PROXY", "SSL_CERT_FILE"},
		},
		Tools: Tools{Default: Tool{Name: "tofu", Version: "~> 1.12"}, Allow: ">=1.5", Download: true},
		Defaults: Rules{
			Branches:        []string{"default"},
			Apply:           run.ApplyAfterMerge,
			Requirements:    Requirements{Apply: []string{"approved", "mergeable", "up_to_date"}},
			Lock:            run.LockApply,
			Comment:         "full",
			Drafts:          "plan",
			Forks:           "ask",
			OnFailure:       "stop",
			Links:           "signed",
			ProjectStatuses: 50,
			AllowRepoConfig: []string{"projects", "requirements.add"},
		},
		Commands:  Commands{Prefixes: []string{"planlatch"}},
		Retention: Retention{Logs: 90 * day, Plans: 30 * day, Messages: 90 * day, Deliveries: 14 * day},
		Disk:      Disk{Free: 1 << 30, Caches: 20 << 30},
		Telemetry: Telemetry{Metrics: true},
	}
}
