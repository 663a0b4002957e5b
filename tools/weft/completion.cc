// Walks a CLI11 tree; see completion.h. Called for `weft completion` and for docs/cli.md.
#include "tools/weft/completion.h"

#include <functional>
#include <vector>

#include "base/strings.h"

namespace weft::cli {
namespace {

struct Node {
  std::string path;  // "weft get services"
  std::vector<std::string> words;
  const CLI::App* app;
};

bool is_hidden(const CLI::App& app) { return app.get_group().empty(); }

void walk(const CLI::App& app, const std::string& path, const std::vector<std::string>& inherited,
          std::vector<Node>* out) {
  Node node{path, inherited, &app};
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    for (const std::string& name : option->get_lnames()) node.words.push_back("--" + name);
    for (const std::string& name : option->get_snames()) node.words.push_back("-" + name);
  }
  const std::vector<std::string> flags = node.words;
  const auto visible = [](const CLI::App* sub) { return !is_hidden(*sub); };
  for (const CLI::App* sub : app.get_subcommands(visible)) node.words.push_back(sub->get_name());
  out->push_back(node);
  for (const CLI::App* sub : app.get_subcommands(visible))
    walk(*sub, str_cat(path, " ", sub->get_name()), flags, out);
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) str_append(&out, out.empty() ? "" : " ", word);
  return out;
}

// The words that are commands lead from node to node; flags and their values are skipped.
std::string bash_script(const std::vector<Node>& nodes) {
  std::string out =
      "# bash completion for weft: source <(weft completion bash)\n_weft() {\n  local path=weft words i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n    case \"$path ${COMP_WORDS[i]}\" in\n";
  for (const Node& node : nodes) {
    if (node.path != "weft") str_append(&out, "      '", node.path, "') path='", node.path, "' ;;\n");
  }
  out += "    esac\n  done\n  case \"$path\" in\n";
  for (const Node& node : nodes)
    str_append(&out, "    '", node.path, "') words='", joined(node.words), "' ;;\n");
  out +=
      "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
      "  [[ ${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n"
      "complete -F _weft weft\n";
  return out;
}

// Between apostrophes.
std::string fish_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

std::string fish_script(const std::vector<Node>& nodes) {
  std::string out = "# fish completion for weft: weft completion fish | source\ncomplete -c weft -f\n";
  for (const Node& node : nodes) {
    std::string condition = "__fish_use_subcommand";
    if (node.path != "weft") {
      condition.clear();
      std::string rest = node.path.substr(5);
      while (!rest.empty()) {
        const size_t space = rest.find(' ');
        str_append(&condition, condition.empty() ? "" : "; and ", "__fish_seen_subcommand_from ",
                   rest.substr(0, space));
        rest = space == std::string::npos ? "" : rest.substr(space + 1);
      }
    }
    for (const CLI::App* sub : node.app->get_subcommands([](const CLI::App* s) { return !is_hidden(*s); })) {
      str_append(&out, "complete -c weft -n '", condition, "' -a ", sub->get_name(), " -d ",
                 fish_quoted(sub->get_description()), "\n");
    }
    for (const CLI::Option* option : node.app->get_options()) {
      if (option->get_group().empty() || option->get_lnames().empty()) continue;
      str_append(&out, "complete -c weft -n '", condition, "' -l ", option->get_lnames()[0], " -d ",
                 fish_quoted(option->get_description()), "\n");
    }
  }
  return out;
}

}  // namespace

std::string completion_script(const CLI::App& root, const std::string& shell) {
  std::vector<Node> nodes;
  walk(root, "weft", {}, &nodes);
  if (shell == "bash") return bash_script(nodes);
  if (shell == "zsh")
    return str_cat("#compdef weft\nautoload -U +X bashcompinit && bashcompinit\n", bash_script(nodes));
  if (shell == "fish") return fish_script(nodes);
  return "";
}

std::string command_reference(const CLI::App& root) {
  std::vector<Node> nodes;
  walk(root, "weft", {}, &nodes);
  std::string out;
  for (const Node& node : nodes) {
    str_append(&out, "\n## `", node.path);
    for (const CLI::Option* option : node.app->get_options()) {
      if (!option->get_positional()) continue;
      const std::string name = option->get_name(true);
      const bool many = option->get_expected_max() > 1;
      str_append(&out, " ", option->get_required() ? "" : "[", name, many ? "..." : "",
                 option->get_required() ? "" : "]");
    }
    str_append(&out, "`\n\n", node.app->get_description(), "\n");
    std::string rows;
    for (const CLI::Option* option : node.app->get_options()) {
      if (option->get_group().empty()) continue;
      const std::string name =
          option->get_positional() ? option->get_name(true) : option->get_name(false, true);
      str_append(&rows, "| `", name, "` | ", option->get_description());
      if (!option->get_default_str().empty())
        str_append(&rows, " (default `", option->get_default_str(), "`)");
      rows += " |\n";
    }
    if (!rows.empty()) str_append(&out, "\n| option | meaning |\n|---|---|\n", rows);
  }
  return out;
}

std::string exit_code_reference() {
  return "\n## Exit codes\n\n| code | meaning |\n|---|---|\n| 0 | success |\n| 1 | error at run time, a "
         "failed "
         "check, a canary that was rolled back or interrupted |\n"
         "| 64 | wrong usage |\n| 65 | wrong input |\n| 69 | the agent does not answer |\n| 77 | not "
         "permitted |\n"
         "| 79 | findings at or above `--fail-on`; drift; a trace that would not arrive; what is denied, or "
         "would "
         "be |\n| 80 | "
         "only a part of "
         "the nodes answered |\n";
}

}  // namespace weft::cli
