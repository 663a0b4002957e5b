// A VirtualService and an HTTPRoute that say the same do the same: which route a request gets, and where it
// goes. What routes do besides is in both_forms_actions_test.cc; together they have more than sixty rows.
#include "tests/unit/routes/route_world.h"

namespace weft::proxy {
namespace {

#define V1 "route: [{destination: {host: v1}}]"
#define V2 "route: [{destination: {host: v2}}]"
#define B1 "backendRefs: [{name: v1, port: 80}]"
#define B2 "backendRefs: [{name: v2, port: 80}]"
#define GET_(path) "GET " path " HTTP/1.1"

const BothForms kMatches[] = {
    {"EveryRequest", "{" V1 "}", "{" B1 "}", {{GET_("/"), "v1"}, {GET_("/a/b?c"), "v1"}}},
    {"ExactPath",
     "{match: [{uri: {exact: /a}}], " V1 "}",
     "{matches: [{path: {type: Exact, value: /a}}], " B1 "}",
     {{GET_("/a"), "v1"}, {GET_("/a/"), "404"}, {GET_("/A"), "404"}, {GET_("/a?x=1"), "v1"}}},
    {"ExactPathWithSlash",
     "{match: [{uri: {exact: /a/}}], " V1 "}",
     "{matches: [{path: {type: Exact, value: /a/}}], " B1 "}",
     {{GET_("/a"), "404"}, {GET_("/a/"), "v1"}}},
    {"EscapedPathIsOnePath",
     "{match: [{uri: {exact: /ab}}], " V1 "}",
     "{matches: [{path: {type: Exact, value: /ab}}], " B1 "}",
     {{GET_("/%61b"), "v1"}, {GET_("/x/../ab"), "v1"}, {GET_("/./ab"), "v1"}}},
    {"PrefixOfSegments",
     "{match: [{uri: {exact: /a}}, {uri: {prefix: /a/}}], " V1 "}",
     "{matches: [{path: {type: PathPrefix, value: /a}}], " B1 "}",
     {{GET_("/a"), "v1"},
      {GET_("/a/"), "v1"},
      {GET_("/a/b"), "v1"},
      {GET_("/ab"), "404"},
      {GET_("/"), "404"}}},
    {"PrefixWithSlashAtItsEnd",
     "{match: [{uri: {exact: /a}}, {uri: {prefix: /a/}}], " V1 "}",
     "{matches: [{path: {type: PathPrefix, value: /a/}}], " B1 "}",
     {{GET_("/a"), "v1"}, {GET_("/a/b"), "v1"}, {GET_("/ab"), "404"}}},
    {"PrefixIsTheDefaultType",
     "{match: [{uri: {exact: /a}}, {uri: {prefix: /a/}}], " V1 "}",
     "{matches: [{path: {value: /a}}], " B1 "}",
     {{GET_("/a/b/c"), "v1"}, {GET_("/ab"), "404"}}},
    {"RootPrefix",
     "{match: [{uri: {prefix: /}}], " V1 "}",
     "{matches: [{path: {type: PathPrefix, value: /}}], " B1 "}",
     {{GET_("/"), "v1"}, {GET_("/x"), "v1"}}},
    {"RegexOfTheWholePath",
     "{match: [{uri: {regex: '/items/[0-9]+'}}], " V1 "}",
     "{matches: [{path: {type: RegularExpression, value: '/items/[0-9]+'}}], " B1 "}",
     {{GET_("/items/12"), "v1"}, {GET_("/items/12/x"), "404"}, {GET_("/x/items/12"), "404"}}},
    {"Method",
     "{match: [{method: {exact: POST}}], " V1 "}",
     "{matches: [{method: POST}], " B1 "}",
     {{"POST / HTTP/1.1\r\nContent-Length: 0", "v1"}, {GET_("/"), "404"}}},
    {"MethodAndPath",
     "{match: [{method: {exact: PUT}, uri: {exact: /a}}], " V1 "}",
     "{matches: [{method: PUT, path: {type: Exact, value: /a}}], " B1 "}",
     {{"PUT /a HTTP/1.1\r\nContent-Length: 0", "v1"},
      {"PUT /b HTTP/1.1\r\nContent-Length: 0", "404"},
      {GET_("/a"), "404"}}},
    {"Header",
     "{match: [{headers: {version: {exact: two}}}], " V1 "}",
     "{matches: [{headers: [{name: version, value: two}]}], " B1 "}",
     {{GET_("/") "\r\nVersion: two", "v1"}, {GET_("/") "\r\nversion: Two", "404"}, {GET_("/"), "404"}}},
    {"HeaderNamesIgnoreCase",
     "{match: [{headers: {x-Color: {exact: red}}}], " V1 "}",
     "{matches: [{headers: [{name: X-COLOR, value: red}]}], " B1 "}",
     {{GET_("/") "\r\nx-color: red", "v1"}, {GET_("/") "\r\nX-Color: red", "v1"}}},
    {"HeaderRegexIsWhole",
     "{match: [{headers: {agent: {regex: 'cur.'}}}], " V1 "}",
     "{matches: [{headers: [{name: agent, type: RegularExpression, value: 'cur.'}]}], " B1 "}",
     {{GET_("/") "\r\nagent: curl", "v1"}, {GET_("/") "\r\nagent: curly", "404"}}},
    {"TwoHeadersMustBothHold",
     "{match: [{headers: {a: {exact: '1'}, b: {exact: '2'}}}], " V1 "}",
     "{matches: [{headers: [{name: a, value: '1'}, {name: b, value: '2'}]}], " B1 "}",
     {{GET_("/") "\r\na: 1\r\nb: 2", "v1"},
      {GET_("/") "\r\na: 1", "404"},
      {GET_("/") "\r\na: 1\r\nb: 3", "404"}}},
    {"OneOfTwoMatches",
     "{match: [{headers: {a: {exact: '1'}}}, {headers: {b: {exact: '2'}}}], " V1 "}",
     "{matches: [{headers: [{name: a, value: '1'}]}, {headers: [{name: b, value: '2'}]}], " B1 "}",
     {{GET_("/") "\r\na: 1", "v1"}, {GET_("/") "\r\nb: 2", "v1"}, {GET_("/") "\r\nc: 3", "404"}}},
    {"HostAsAHeader",
     "{match: [{authority: {exact: cart}}], " V1 "}",
     "{matches: [{headers: [{name: host, value: cart}]}], " B1 "}",
     {{GET_("/"), "v1"}}},
    {"QueryParameter",
     "{match: [{queryParams: {animal: {exact: whale}}}], " V1 "}",
     "{matches: [{queryParams: [{name: animal, value: whale}]}], " B1 "}",
     {{GET_("/?animal=whale"), "v1"},
      {GET_("/?animal=Whale"), "404"},
      {GET_("/?x=1&animal=whale"), "v1"},
      {GET_("/"), "404"}}},
    {"QueryNamesMindCase",
     "{match: [{queryParams: {Animal: {exact: whale}}}], " V1 "}",
     "{matches: [{queryParams: [{name: Animal, value: whale}]}], " B1 "}",
     {{GET_("/?Animal=whale"), "v1"}, {GET_("/?animal=whale"), "404"}}},
    {"QueryRegex",
     "{match: [{queryParams: {n: {regex: '[0-9]+'}}}], " V1 "}",
     "{matches: [{queryParams: [{name: n, type: RegularExpression, value: '[0-9]+'}]}], " B1 "}",
     {{GET_("/?n=12"), "v1"}, {GET_("/?n=12a"), "404"}, {GET_("/?n="), "404"}}},
    {"TheFirstParameterOfAName",
     "{match: [{queryParams: {n: {exact: '1'}}}], " V1 "}",
     "{matches: [{queryParams: [{name: n, value: '1'}]}], " B1 "}",
     {{GET_("/?n=1&n=2"), "v1"}, {GET_("/?n=2&n=1"), "404"}}},
    {"PathHeaderAndQuery",
     "{match: [{uri: {exact: /a}, headers: {h: {exact: '1'}}, queryParams: {q: {exact: '1'}}}], " V1 "}",
     "{matches: [{path: {type: Exact, value: /a}, headers: [{name: h, value: '1'}], queryParams: [{name: q, "
     "value: '1'}]}], " B1 "}",
     {{GET_("/a?q=1") "\r\nh: 1", "v1"},
      {GET_("/a?q=1"), "404"},
      {GET_("/a") "\r\nh: 1", "404"},
      {GET_("/b?q=1") "\r\nh: 1", "404"}}},
    {"NoRuleMatches",
     "{match: [{uri: {exact: /only}}], " V1 "}",
     "{matches: [{path: {type: Exact, value: /only}}], " B1 "}",
     {{GET_("/"), "404"}}},
};

// The VirtualService is written in the order that the specification of HTTPRoute makes of its rules.
const BothForms kPrecedence[] = {
    {"ExactBeforePrefix",
     "{match: [{uri: {exact: /a}}], " V2 "}, {match: [{uri: {prefix: /}}], " V1 "}",
     "{matches: [{path: {type: PathPrefix, value: /}}], " B1
     "}, {matches: [{path: {type: Exact, value: /a}}], " B2 "}",
     {{GET_("/a"), "v2"}, {GET_("/a/"), "v1"}, {GET_("/b"), "v1"}}},
    {"LongerPrefixFirst",
     "{match: [{uri: {exact: /a/b}}, {uri: {prefix: /a/b/}}], " V2
     "}, {match: [{uri: {exact: /a}}, {uri: {prefix: /a/}}], " V1 "}",
     "{matches: [{path: {value: /a}}], " B1 "}, {matches: [{path: {value: /a/b}}], " B2 "}",
     {{GET_("/a/b/c"), "v2"}, {GET_("/a/b"), "v2"}, {GET_("/a/bc"), "v1"}, {GET_("/a/c"), "v1"}}},
    {"ALastSlashMakesNoPrefixLonger",
     "{match: [{uri: {exact: /a}}, {uri: {prefix: /a/}}], " V1 "}",
     "{matches: [{path: {value: /a}}], " B1 "}, {matches: [{path: {value: /a/}}], " B2 "}",
     {{GET_("/a/b"), "v1"}}},
    {"ExactBeforeLongerPrefix",
     "{match: [{uri: {exact: /a/b}}], " V2 "}, {match: [{uri: {prefix: /a/}}], " V1 "}",
     "{matches: [{path: {value: /a}}], " B1 "}, {matches: [{path: {type: Exact, value: /a/b}}], " B2 "}",
     {{GET_("/a/b"), "v2"}, {GET_("/a/b/"), "v1"}}},
    {"RegexBeforePrefix",
     "{match: [{uri: {regex: '/a/[0-9]+'}}], " V2 "}, {match: [{uri: {prefix: /}}], " V1 "}",
     "{matches: [{path: {value: /}}], " B1
     "}, {matches: [{path: {type: RegularExpression, value: '/a/[0-9]+'}}], " B2 "}",
     {{GET_("/a/7"), "v2"}, {GET_("/a/x"), "v1"}}},
    {"MethodBeforeNone",
     "{match: [{method: {exact: DELETE}}], " V2 "}, {" V1 "}",
     "{" B1 "}, {matches: [{method: DELETE}], " B2 "}",
     {{"DELETE / HTTP/1.1", "v2"}, {GET_("/"), "v1"}}},
    {"PathBeforeMethod",
     "{match: [{uri: {exact: /a}}], " V1 "}, {match: [{method: {exact: GET}}], " V2 "}",
     "{matches: [{method: GET}], " B2 "}, {matches: [{path: {type: Exact, value: /a}}], " B1 "}",
     {{GET_("/a"), "v1"}, {GET_("/b"), "v2"}}},
    {"MethodBeforeHeaders",
     "{match: [{method: {exact: GET}}], " V1 "}, {match: [{headers: {a: {exact: '1'}, b: {exact: '1'}}}], " V2
     "}",
     "{matches: [{headers: [{name: a, value: '1'}, {name: b, value: '1'}]}], " B2
     "}, {matches: [{method: GET}], " B1 "}",
     {{GET_("/") "\r\na: 1\r\nb: 1", "v1"}, {"PUT / HTTP/1.1\r\nContent-Length: 0\r\na: 1\r\nb: 1", "v2"}}},
    {"MoreHeadersFirst",
     "{match: [{headers: {a: {exact: '1'}, b: {exact: '1'}}}], " V2
     "}, {match: [{headers: {a: {exact: '1'}}}], " V1 "}",
     "{matches: [{headers: [{name: a, value: '1'}]}], " B1
     "}, {matches: [{headers: [{name: a, value: '1'}, {name: b, value: '1'}]}], " B2 "}",
     {{GET_("/") "\r\na: 1\r\nb: 1", "v2"}, {GET_("/") "\r\na: 1", "v1"}}},
    {"HeadersBeforeQuery",
     "{match: [{headers: {a: {exact: '1'}}}], " V1
     "}, {match: [{queryParams: {q: {exact: '1'}, r: {exact: '1'}}}], " V2 "}",
     "{matches: [{queryParams: [{name: q, value: '1'}, {name: r, value: '1'}]}], " B2
     "}, {matches: [{headers: [{name: a, value: '1'}]}], " B1 "}",
     {{GET_("/?q=1&r=1") "\r\na: 1", "v1"}, {GET_("/?q=1&r=1"), "v2"}}},
    {"MoreQueryParametersFirst",
     "{match: [{queryParams: {q: {exact: '1'}, r: {exact: '1'}}}], " V2
     "}, {match: [{queryParams: {q: {exact: '1'}}}], " V1 "}",
     "{matches: [{queryParams: [{name: q, value: '1'}]}], " B1
     "}, {matches: [{queryParams: [{name: q, value: '1'}, {name: r, value: '1'}]}], " B2 "}",
     {{GET_("/?q=1&r=1"), "v2"}, {GET_("/?q=1"), "v1"}}},
    {"EarlierRuleOfEquals",
     "{match: [{headers: {a: {exact: '1'}}}], " V1 "}, {match: [{headers: {b: {exact: '1'}}}], " V2 "}",
     "{matches: [{headers: [{name: a, value: '1'}]}], " B1
     "}, {matches: [{headers: [{name: b, value: '1'}]}], " B2 "}",
     {{GET_("/") "\r\na: 1\r\nb: 1", "v1"}}},
    {"MatchesOfOneRuleAreRankedApart",
     "{match: [{uri: {exact: /x}}], " V1 "}, {match: [{uri: {prefix: /x}}], " V2 "}, {" V1 "}",
     "{matches: [{path: {type: Exact, value: /x}}, {path: {value: /}}], " B1
     "}, {matches: [{path: {value: /x}}], " B2 "}",
     {{GET_("/x"), "v1"}, {GET_("/x/y"), "v2"}, {GET_("/z"), "v1"}}},
};

const BothForms kWeights[] = {
    {"OneBackend", "{" V1 "}", "{" B1 "}", {{GET_("/"), "v1"}}},
    {"NineToOne",
     "{route: [{destination: {host: v1}, weight: 90}, {destination: {host: v2}, weight: 10}]}",
     "{backendRefs: [{name: v1, port: 80, weight: 90}, {name: v2, port: 80, weight: 10}]}",
     {{GET_("/"), "v1 90/100, v2 10/100"}}},
    {"ThreeWays",
     "{route: [{destination: {host: v1}, weight: 1}, {destination: {host: v2}, weight: 2}, {destination: "
     "{host: v3}, weight: 3}]}",
     "{backendRefs: [{name: v1, port: 80, weight: 1}, {name: v2, port: 80, weight: 2}, {name: v3, port: 80, "
     "weight: 3}]}",
     {{GET_("/"), "v1 1/6, v2 2/6, v3 3/6"}}},
    {"ZeroIsDropped",
     "{route: [{destination: {host: v1}, weight: 0}, {destination: {host: v2}, weight: 7}]}",
     "{backendRefs: [{name: v1, port: 80, weight: 0}, {name: v2, port: 80, weight: 7}]}",
     {{GET_("/"), "v2"}}},
    {"OneIsTheDefault",
     "{route: [{destination: {host: v1}, weight: 1}, {destination: {host: v2}, weight: 1}]}",
     "{backendRefs: [{name: v1, port: 80}, {name: v2, port: 80}]}",
     {{GET_("/"), "v1 1/2, v2 1/2"}}},
    {"ThePortOfTheBackend",
     "{route: [{destination: {host: cart, port: {number: 8080}}}]}",
     "{backendRefs: [{name: cart, port: 8080}]}",
     {{GET_("/"), "cart"}}},
};

class BothFormsTest : public testing::TestWithParam<BothForms> {};

TEST_P(BothFormsTest, DoTheSame) { expect_same(GetParam()); }

const auto kName = [](const auto& info) { return std::string(info.param.name); };
INSTANTIATE_TEST_SUITE_P(Matches, BothFormsTest, testing::ValuesIn(kMatches), kName);
INSTANTIATE_TEST_SUITE_P(Precedence, BothFormsTest, testing::ValuesIn(kPrecedence), kName);
INSTANTIATE_TEST_SUITE_P(Weights, BothFormsTest, testing::ValuesIn(kWeights), kName);

}  // namespace
}  // namespace weft::proxy
