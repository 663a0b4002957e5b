// `weft edges`: who talks to whom on this node, and how it is secured. Called by cli.cc; the agent counts,
// this only prints.
#include <grpcpp/grpcpp.h>

#include "base/strings.h"
#include "proto/weft/admin/v1/edges.grpc.pb.h"
#include "tools/weft/admin_call.h"
#include "tools/weft/interrupt.h"

namespace weft::cli {
namespace {

using admin::v1::Edge;

constexpr std::chrono::seconds kWatchPeriod{2};

const char* word_of(int security) {
  if (security == Edge::MUTUAL_TLS) return "mtls";
  return security == Edge::SAME_NODE ? "node" : "plain";
}

std::vector<std::string> words_of(const Edge& edge) {
  std::vector<std::string> out;
  for (const int security : edge.security()) out.emplace_back(word_of(security));
  return out;
}

Json json_row(const Edge& edge) {
  return {{"source", edge.source()},
          {"destination", edge.destination()},
          {"security", words_of(edge)},
          {"identity", edge.identity()},
          {"path", edge.path()},
          {"requests", edge.requests()},
          {"connections", edge.connections()},
          {"sentBytes", edge.sent_bytes()},
          {"receivedBytes", edge.received_bytes()}};
}

// False: reported.
bool print_edges(const Flags& flags, Environment& env, int* code) {
  const auto channel = open_channel(flags);
  if (!channel.ok()) {
    *code = report(channel.status(), "weft status", env);
    return false;
  }
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
  admin::v1::ListEdgesRequest request;
  request.set_namespace_(flags.ns);
  admin::v1::EdgeList reply;
  const grpc::Status status = admin::v1::Edges::NewStub(*channel)->List(&context, request, &reply);
  if (!status.ok()) {
    *code = report(to_status(status), "weft status", env);
    return false;
  }
  Table table{
      {"SOURCE", "DESTINATION", "SECURED", "PATH", "REQUESTS", "CONNS", "SENT", "RECEIVED", "IDENTITY"}, {}};
  Json rows = Json::array();
  for (const Edge& edge : reply.edges()) {
    // Where the proxy carried none, there are none to count.
    const bool counted = edge.requests() > 0 || edge.path() == "proxy";
    table.rows.push_back({edge.source(), edge.destination(), join(words_of(edge), "+"), edge.path(),
                          counted && reply.proxy_answers() ? str_cat(edge.requests()) : "-",
                          str_cat(edge.connections()), bytes_text(edge.sent_bytes()),
                          bytes_text(edge.received_bytes()),
                          edge.identity().empty() ? "-" : edge.identity()});
    rows.push_back(json_row(edge));
  }
  print(Json{{"schema", "weft.edges.v1"}, {"proxyAnswers", reply.proxy_answers()}, {"edges", rows}}, table,
        flags, env);
  if (reply.edges().empty() && flags.output == "table")
    env.err << "no captured pod has talked to anybody yet; next: weft get workloads -A\n";
  if (!reply.proxy_answers())
    env.err << "the proxy does not answer: requests are missing; next: weft check\n";
  return true;
}

}  // namespace

int edges(const Flags& flags, Environment& env) {
  int code = kOk;
  if (!flags.follow) {
    print_edges(flags, env, &code);
    return code;
  }
  Interrupt interrupt;
  // Output that nobody takes any more ends it: with --node, SIGPIPE does not end the process.
  while (env.out && !interrupt.asked()) {
    if (!print_edges(flags, env, &code)) return code;
    env.out << (flags.output == "yaml" ? "---" : "") << std::endl;
    interrupt.wait(kWatchPeriod);
  }
  return kOk;
}

}  // namespace weft::cli
