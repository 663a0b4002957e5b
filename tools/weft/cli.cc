// The command tree of `weft` and its errors; see cli.h. Called by main.cc and by tests.
#include "tools/weft/cli.h"

#include <CLI/CLI.hpp>

#include "base/strings.h"
#include "base/suggest.h"
#include "tools/weft/cluster_commands.h"
#include "tools/weft/commands.h"
#include "tools/weft/completion.h"
#include "tools/weft/in_cluster.h"

namespace weft::cli {
namespace {

struct Tree {
  CLI::App app{"Look at and steer the Weft mesh, on this node or in a cluster.", "weft"};
  Flags flags;
  // Leaves in the order of definition; the parsed one runs.
  std::vector<std::pair<CLI::App*, Command>> commands;
  CLI::Option* run_dir = nullptr;
  CLI::App* completion = nullptr;
  CLI::App* docs = nullptr;

  Tree();
  CLI::App* leaf(CLI::App* parent, const char* name, const char* help, Command command) {
    CLI::App* sub = parent->add_subcommand(name, help);
    sub->fallthrough();
    commands.emplace_back(sub, command);
    return sub;
  }
  void add_access();
  void add_cluster();
  void add_get();
  void add_conns();
  void add_edges();
  void add_certificates();
  void add_trace();
  void add_authorization();
  void add_observe();
  void add_canary();
  void add_enrollment();
  void add_kernel();
  void add_join_tokens();
};

Tree::Tree() {
  app.require_subcommand(1);
  run_dir = app.add_option("--run-dir", flags.run_dir, "folder of the agent's sockets")
                ->envname("WEFT_RUN_DIR")
                ->default_str("/run/weft");
  app.set_version_flag("--version", "weft " WEFT_VERSION);
  app.add_option("-n,--namespace", flags.ns, "namespace to look at")->default_str("default");
  app.add_option("-o,--output", flags.output, "table, json or yaml")
      ->check(CLI::IsMember({"table", "json", "yaml"}))
      ->default_str("table");
  app.add_option("--color", flags.colour, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->default_str("auto");

  add_access();
  leaf(&app, "status", "One row for a node: agent, kernel, proxy, pods, configuration, and what is wrong.",
       status);
  CLI::App* check_command =
      leaf(&app, "check", "Run every check of this node; each failure says what to type next.", check);
  check_command->add_flag(
      "--pre", flags.pre,
      "before anything is installed: what the kernel must offer, and who else is on its hooks");
  check_command->add_option(
      "--cgroup", flags.cgroup,
      "cgroup2 directory that weft-agent is started with; default: the whole hierarchy");
  check_command->add_option("--pin-root", flags.pin_root, "pins that weft-agent is started with")
      ->default_str("/sys/fs/bpf/weft");
  check_command->add_flag(
      "--cluster", flags.cluster.asked,
      "not this node but the cluster, as its API server tells: versions, rights, resource "
      "definitions, nodes; without --pre also how the Weft in it does (-n: its namespace, "
      "default weft-system)");
  add_cluster();
  add_get();
  add_observe();
  add_conns();
  add_edges();
  add_certificates();
  add_trace();
  add_authorization();
  add_canary();
  add_enrollment();
  add_kernel();
  add_join_tokens();
  CLI::App* analyze_command = leaf(&app, "analyze", "Check manifests without applying them.", analyze);
  analyze_command->add_option("PATH", flags.paths, "files and folders")->required();
  analyze_command
      ->add_option("--fail-on", flags.fail_on, "lowest level that makes the exit code 79: warn or error")
      ->check(CLI::IsMember({"warn", "error"}))
      ->default_str("error");
  completion = app.add_subcommand("completion", "Print the completion script of a shell.");
  completion->add_option("SHELL", flags.shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  leaf(&app, "version", "Print the version of this program.", version);
  docs = app.add_subcommand("__docs", "Print docs/cli.md.")->group("");
  leaf(&app, "__relay", "What a weft elsewhere runs in an agent's pod.", relay)->group("");
}

void Tree::add_observe() {
  CLI::App* observe_command = leaf(&app, "observe", "Requests and connections as they end.", observe);
  observe_command->add_flag("-f,--follow", flags.follow, "until interrupted; otherwise for five seconds");
  observe_command->add_option("--from", flags.from, "only from workloads whose name begins so");
  observe_command->add_option("--to", flags.to, "only to services or workloads whose name begins so");
  observe_command->add_flag("--errors", flags.errors_only, "only what did not end well");
}

void Tree::add_access() {
  ClusterFlags& f = flags.cluster;
  app.add_option("--kubeconfig", f.kubeconfig,
                 "how the cluster is reached; default: KUBECONFIG, ~/.kube/config, or as the pod that this "
                 "runs in");
  app.add_option("--context", f.context, "context in the kubeconfig; default: its current one");
  app.add_option(
      "--node", f.node,
      "ask the agent of this node of the cluster; default: this machine's, or, where none runs and "
      "there is a kubeconfig, all agents of the cluster");
  app.add_option("--weft-namespace", f.weft_namespace, "namespace of the cluster's agents")
      ->default_str("weft-system");
}

void Tree::add_cluster() {
  ClusterFlags& f = flags.cluster;
  CLI::App* install_command = leaf(&app, "install",
                                   "Install Weft in a cluster: the checks of weft check --pre --cluster, "
                                   "then Helm (WEFT_HELM, or helm) with "
                                   "Weft's chart. -n is its namespace, default weft-system.",
                                   install);
  CLI::App* upgrade_command = leaf(
      &app, "upgrade", "Upgrade the Weft of a cluster to a chart; what was set before stays set.", upgrade);
  CLI::App* uninstall_command = leaf(&app, "uninstall",
                                     "Remove Weft from a cluster, and wait until every agent has taken its "
                                     "programs and rules from its node. "
                                     "Namespaces, labels and resource definitions stay.",
                                     uninstall);
  install_command->add_flag("--skip-checks", f.skip_checks, "install whatever the checks say");
  for (CLI::App* command : {install_command, upgrade_command}) {
    command->add_option("--chart", f.chart, "folder, archive or oci:// of the chart")
        ->default_str("WEFT_CHART, else /usr/share/weft/chart");
    command->add_option("--values", f.values, "file of values (helm/weft/README.md); may be repeated")
        ->take_all();
    command->add_option("--set", f.sets, "one value, PATH=VALUE; may be repeated")->take_all();
  }
  for (CLI::App* command : {install_command, upgrade_command, uninstall_command}) {
    command->add_option("--timeout", f.timeout, "how long Helm waits for the pods")->default_str("5m");
    command->add_flag(
        "--dry-run", flags.dry_run,
        command == uninstall_command ? "only say what would be removed" : "only print the manifests");
  }
}

void Tree::add_get() {
  CLI::App* get = app.add_subcommand("get", "List what the agent knows.");
  get->require_subcommand(1);
  get->fallthrough();
  const std::tuple<const char*, const char*, Command> kinds[] = {
      {"services", "Services with their addresses and ports.", get_services},
      {"endpoints", "Endpoints of services, with weight, state and labels.", get_endpoints},
      {"workloads",
       "Workloads and whether they are captured; of captured ones, what they use of the proxy and what it "
       "refused them (docs/limits.md).",
       get_workloads},
      {"routes", "Routes in the order in which they are tried.", get_routes}};
  for (const auto& [name, help, command] : kinds) {
    CLI::App* sub = leaf(get, name, help, command);
    sub->add_option("NAME", flags.name, "only this one: NAME or NAMESPACE/NAME");
    sub->add_flag("-A,--all-namespaces", flags.all_namespaces, "all namespaces");
    if (command != get_routes) continue;
    sub->add_flag("--explain", flags.explain,
                  "also the line that each comes from, and the endpoints that it leads to");
  }
}

void Tree::add_conns() {
  CLI::App* command = leaf(&app, "conns",
                           "Open TCP connections of captured pods, loopback left out. PATH: direct (the "
                           "kernel picked the backend), "
                           "proxy (captured), upstream (dialled by the proxy for the pod), pass (left "
                           "alone), inbound (accepted by "
                           "the application), inspected (accepted by the proxy before the application).",
                           conns);
  command->add_option("WORKLOAD", flags.name,
                      "only of this pod: NAME or NAMESPACE/NAME; default: all, or those of -n");
  command->add_option("--from", flags.from, "only from workloads whose name begins so");
  command->add_option("--to", flags.to, "only to services or workloads whose name begins so");
  command->add_option("--limit", flags.limit, "rows at the most")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
}

void Tree::add_edges() {
  CLI::App* command = leaf(
      &app, "edges",
      "Who talks to whom on this node: every client of a captured pod, and whom it dials. SECURED: mtls "
      "(mutual TLS), node (both ends are pods of this node, known by their network namespaces; nothing is "
      "encrypted, no byte leaves the host), plain; by what the ends are now. PATH: proxy, direct (the kernel "
      "connected them), "
      "inbound (from elsewhere). Counted since the programs were loaded.",
      edges);
  command->add_flag("-w,--watch", flags.follow, "again every two seconds, until interrupted");
}

void Tree::add_certificates() {
  CLI::App* cert = app.add_subcommand("cert", "Certificates of workload identities.");
  cert->require_subcommand(1);
  cert->fallthrough();
  leaf(cert, "list", "The roots of this node's authority, and the newest certificate of each identity.",
       cert_list);
  CLI::App* show = leaf(cert, "show", "One certificate.", cert_show);
  show->add_option("IDENTITY", flags.name,
                   "spiffe://… as weft cert list prints it, or NAMESPACE/sa/SERVICE-ACCOUNT")
      ->required();
  CLI::App* rotate =
      leaf(cert, "rotate", "Have certificates replaced before it is time, without ending a connection.",
           cert_rotate);
  rotate->add_option("IDENTITY", flags.name, "the certificate of this one, as for show");
  rotate->add_flag("--all", flags.all, "all certificates of this node");
  rotate->add_flag("--root", flags.root,
                   "the next of three steps to a new root (trusted, signing, alone), or, of an authority of "
                   "yours, its files anew; then all certificates");
}

void Tree::add_trace() {
  CLI::App* command = leaf(&app, "trace",
                           "Which way a request, or a TCP connection, would go now: the rules in the order "
                           "in which the proxy asks them, why each does not match, and the endpoints of the "
                           "one that does. Sends nothing; exit code 79 when it would not arrive.",
                           trace);
  command->add_option("FROM", flags.from, "the client: NAME or NAMESPACE/NAME of a workload")->required();
  command->add_option("TO", flags.to, "what it dials: a service as it would write it, or an address; :PORT")
      ->required();
  command->add_option("--http", flags.http, "an HTTP request, 'GET /path?query'; default: a TCP connection");
  command->add_option("--tls", flags.tls,
                      "a TLS connection that is opened to this server name; default: any TCP connection");
  command->add_option("--header", flags.headers, "a header of the request, NAME:VALUE; may be repeated")
      ->take_all();
}

void Tree::add_authorization() {
  CLI::App* authz = app.add_subcommand("authz", "Who may reach whom.");
  authz->require_subcommand(1);
  authz->fallthrough();
  const std::tuple<const char*, const char*, Command> kinds[] = {
      {"check",
       "Whether the policies of a pod let a client's request or connection in, and which rule says so. Sends "
       "nothing; exit code 79 when they do not.",
       authz_check},
      {"explain",
       "The same with every rule of every policy that is for the pod, in the order in which they are asked.",
       authz_explain}};
  for (const auto& [name, help, command] : kinds) {
    CLI::App* sub = leaf(authz, name, help, command);
    sub->add_option("FROM", flags.from, "the client: NAME or NAMESPACE/NAME of a workload")->required();
    sub->add_option("TO", flags.to, "the server: NAME or NAMESPACE/NAME of a workload, :PORT (default 80)")
        ->required();
    sub->add_option("--http", flags.http,
                    "an HTTP request, 'GET /path?query'; default: a connection that is no HTTP");
    sub->add_option("--tls", flags.tls,
                    "a TLS connection that is opened to this server name; default: one without TLS");
    sub->add_option("--header", flags.headers, "a header of the request, NAME:VALUE; may be repeated")
        ->take_all();
    sub->add_option("--claims", flags.claims,
                    "what the request's token says, a JSON object with \"iss\", taken for proved");
  }
  CLI::App* shadow = leaf(authz, "shadow",
                          "What would change if the AuthorizationPolicies of a manifest were in force, by "
                          "the traffic that this node sees for a while: a policy in force of the same name "
                          "is replaced, the others stay. Puts nothing in force; exit code 79 when something "
                          "would be treated in another way.",
                          authz_shadow);
  shadow->add_option("FILE", flags.name, "the manifest")->required();
  shadow->add_option("--for", flags.duration, "how long to watch, 1s to 10m")->default_str("30s");
}

void Tree::add_canary() {
  CLI::App* canary = app.add_subcommand("canary",
                                        "Shift the weights of a route (VirtualService, HTTPRoute, GRPCRoute) "
                                        "to a new version, and back when it does badly.");
  canary->require_subcommand(1);
  canary->fallthrough();
  CanaryFlags& f = flags.canary;
  CLI::App* run =
      leaf(canary, "run",
           "Step by step: write the weights into the manifest, wait until the proxy routes by them, "
           "watch the new version's requests, and give it nothing when a bound is broken. Changes "
           "the weights' digits only; exit code 1 when it was rolled back.",
           canary_run);
  CLI::App* status =
      leaf(canary, "status", "What the manifest says, what is in force, and how each version does.",
           canary_status);
  CLI::App* rollback = leaf(canary, "rollback", "Give the new version weight 0; the others share everything.",
                            canary_rollback);
  for (CLI::App* command : {run, status, rollback}) {
    command->add_option("--file", f.file, "the manifest, in the folder that the agent reads")->required();
    command->add_option("--route", f.route,
                        "name of the route in spec.http or spec.rules, where several would do");
    command->add_option("--host", f.host,
                        "one of its hosts, or the Service it is attached to, where several would do");
    command
        ->add_option("--to", f.to,
                     "the new version: subset, or host, of a destination, or name of a backendRef")
        ->required();
  }
  run->add_option("--steps", f.steps, "its share in percent, step by step")->default_str("5,25,50,75,100");
  run->add_option("--interval", f.interval, "how long each step is watched, at least")->default_str("60s");
  run->add_option("--max-error-rate", f.max_error_rate, "of its requests that may end in 5xx or no answer")
      ->default_str("1%");
  run->add_option("--max-p99", f.max_p99, "its 99th percentile may take, such as 250ms; default: any time");
  run->add_option("--min-requests", f.min_requests, "a step passes, and p99 counts, from so many requests on")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000'000}))
      ->default_str("100");
  run->add_option("--patience", f.patience,
                  "a step without those by then is rolled back; default: 10 intervals");
  run->add_flag("--dry-run", flags.dry_run, "only say what would be written, where");
}

void Tree::add_enrollment() {
  CLI::App* enroll_command = leaf(
      &app, "enroll", "Capture a workload's network namespace, now and after restarts of the agent.", enroll);
  enroll_command->add_option("WORKLOAD", flags.workload, "NAMESPACE/NAME, or NAME in the namespace of -n")
      ->required();
  enroll_command->add_option(
      "--netns", flags.netns,
      "its network namespace, /run/netns/NAME or /proc/PID/ns/net; default: what its manifest says");
  enroll_command->add_flag("--dry-run", flags.dry_run, "only say what would change");
  CLI::App* unenroll_command =
      leaf(&app, "unenroll", "Stop capturing a workload that was enrolled with weft enroll.", unenroll);
  unenroll_command
      ->add_option("WORKLOAD", flags.workload, "NAMESPACE/NAME, or the path of its network namespace")
      ->required();
  unenroll_command->add_flag("--dry-run", flags.dry_run, "only say what would change");
}

void Tree::add_kernel() {
  leaf(&app, "diff",
       "What the configuration wants, what the agent wrote, what the kernel holds; exit code 79 when they "
       "differ.",
       diff);
  CLI::App* bpf = app.add_subcommand("bpf", "What is in the kernel.");
  bpf->require_subcommand(1);
  bpf->fallthrough();
  leaf(bpf, "progs", "Programs, where they are attached, and what they cost.", bpf_progs);
  leaf(bpf, "maps", "Maps and how full they are.", bpf_maps);
  CLI::App* map = bpf->add_subcommand("map", "One map.");
  map->require_subcommand(1);
  map->fallthrough();
  CLI::App* dump =
      leaf(map, "dump", "The rows of a map in words; an unknown name lists the names.", bpf_map_dump);
  dump->add_option("NAME", flags.name, "name of the map, as weft bpf maps prints it")->required();
  dump->add_option("--limit", flags.limit, "rows at the most")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  leaf(bpf, "stats", "What the programs counted.", bpf_stats);
}

void Tree::add_join_tokens() {
  CLI::App* token = app.add_subcommand("join-token",
                                       "Machines without Kubernetes as nodes of the mesh; on the machine of "
                                       "weft-control, as root.");
  token->require_subcommand(1);
  token->fallthrough();
  JoinFlags& f = flags.join;
  CLI::App* create = leaf(token, "create",
                          "Print a token, this once, by which a machine becomes a node, once: give it to "
                          "weft-agent --join-token-file.",
                          join_token_create);
  CLI::App* list = leaf(token, "list", "Tokens, and nodes that have joined.", join_token_list);
  CLI::App* remove =
      leaf(token, "remove", "A node is none any more, and its unused tokens are gone.", join_token_remove);
  for (CLI::App* command : {create, list, remove})
    command->add_option("--join-dir", f.folder, "the folder that weft-control is started with")
        ->default_str("/var/lib/weft-control/join");
  for (CLI::App* command : {create, remove})
    command->add_option("--node", f.node, "name of the node")->required();
  create->add_option("--ttl", f.life, "how long it can be used, 1m to 168h")->default_str("1h");
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> out;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App* s) { return !s->get_group().empty(); }))
    out.push_back(sub->get_name());
  return out;
}

std::string suggestion(const std::string& word, const std::vector<std::string>& candidates) {
  const std::vector<std::string_view> views(candidates.begin(), candidates.end());
  const std::optional<std::string> near = nearest(word, views);
  return near.has_value() ? str_cat(", did you mean ", *near, "?") : "";
}

const CLI::App* child(const CLI::App& app, const std::string& name) {
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->get_name() == name) return sub;
  }
  return nullptr;
}

const CLI::Option* find_flag(const CLI::App* app, const std::string& flag, std::vector<std::string>* known) {
  for (; app != nullptr; app = app->get_parent()) {
    if (const CLI::Option* option = app->get_option_no_throw(flag); option != nullptr) return option;
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) known->push_back("--" + name);
    }
  }
  return nullptr;
}

// A better sentence than the parser's for the two common slips; empty when the slip is another one.
std::string unknown_word(const CLI::App& root, const std::vector<std::string>& args) {
  const CLI::App* at = &root;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& word = args[i];
    if (word.substr(0, 1) == "-") {
      std::vector<std::string> known;
      const size_t equals = word.find('=');
      const std::string flag = word.substr(0, equals);
      const CLI::Option* option = find_flag(at, flag, &known);
      if (option == nullptr && flag.substr(0, 2) == "--")
        return str_cat("unknown flag ", flag, suggestion(flag, known));
      if (option != nullptr && option->get_items_expected_min() > 0 && equals == std::string::npos)
        ++i;  // its value
      continue;
    }
    const CLI::App* next = child(*at, word);
    const std::vector<std::string> names = command_names(*at);
    if (next == nullptr && !names.empty()) return str_cat("unknown command ", word, suggestion(word, names));
    if (next != nullptr) at = next;
  }
  return "";
}

// The command that the arguments have come to, "weft get".
std::string command_of(const CLI::App& root, const std::vector<std::string>& args) {
  std::string command = "weft";
  const CLI::App* at = &root;
  for (const std::string& word : args) {
    const CLI::App* next = child(*at, word);
    if (next == nullptr) continue;
    str_append(&command, " ", word);
    at = next;
  }
  return command;
}

}  // namespace

std::string cli_document() {
  const Tree tree;
  return str_cat(
      "# `weft` command reference\n\nResults go to standard output, words about them to standard error. "
      "Every error ends with "
      "the next command\nto type. Colour follows `--color`, `NO_COLOR` and `TERM=dumb`. Generated by `weft "
      "__docs`; a test "
      "keeps the two equal.\n",
      command_reference(tree.app), exit_code_reference());
}

int run(const std::vector<std::string>& args, Environment& env) {
  Tree tree;
  try {
    // CLI11 takes the arguments last first.
    tree.app.parse(std::vector<std::string>(args.rbegin(), args.rend()));
  } catch (const CLI::CallForHelp&) {
    env.out << tree.app.help();
    return kOk;
  } catch (const CLI::CallForVersion& version) {
    env.out << version.what() << "\n";
    return kOk;
  } catch (const CLI::ParseError& error) {
    const std::string better = unknown_word(tree.app, args);
    env.err << "error: " << (better.empty() ? error.what() : better)
            << "\nnext: " << command_of(tree.app, args) << " --help\n";
    return kUsage;
  }
  if (tree.completion->parsed()) {
    env.out << completion_script(tree.app, tree.flags.shell);
    return kOk;
  }
  if (tree.docs->parsed()) {
    env.out << cli_document();
    return kOk;
  }
  tree.flags.cluster.run_dir_given = tree.run_dir->count() > 0;
  for (const auto& [app, command] : tree.commands) {
    if (!app->parsed()) continue;
    if (is_astray(command, tree.flags, env)) return kUsage;
    const Reach reach = reach_of(command, tree.flags);
    const bool there = reach != Reach::kNobody && asks_cluster(tree.flags);
    return there ? run_in_cluster(tree.flags, reach, command, env) : command(tree.flags, env);
  }
  return kUsage;
}

}  // namespace weft::cli
