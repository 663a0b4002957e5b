// A VirtualService and an HTTPRoute that say the same do the same: redirects, rewrites, header edits,
// mirrors, CORS, timeouts, retries. Rows of matching are in both_forms_test.cc.
#include "tests/unit/routes/route_world.h"

namespace weft::proxy {
namespace {

#define V1 "route: [{destination: {host: v1}}]"
#define B1 "backendRefs: [{name: v1, port: 80}]"
#define GET_(path) "GET " path " HTTP/1.1"

const BothForms kRedirects[] = {
    {"RedirectToAHost",
     "{redirect: {authority: example.org, redirectCode: 302, derivePort: FROM_REQUEST_PORT}}",
     "{filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]}",
     {{GET_("/a?b=1"), "302 http://example.org/a?b=1"}}},
    {"RedirectWithACode",
     "{redirect: {authority: example.org, redirectCode: 301, derivePort: FROM_REQUEST_PORT}}",
     "{filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org, statusCode: 301}}]}",
     {{GET_("/"), "301 http://example.org/"}}},
    {"RedirectToAScheme",
     "{redirect: {scheme: https, redirectCode: 302, port: 443}}",
     "{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}",
     {{GET_("/a"), "302 https://cart/a"}}},
    {"RedirectToASchemeAndAPort",
     "{redirect: {scheme: https, port: 8443, redirectCode: 302}}",
     "{filters: [{type: RequestRedirect, requestRedirect: {scheme: https, port: 8443}}]}",
     {{GET_("/a"), "302 https://cart:8443/a"}}},
    {"RedirectToAPort",
     "{redirect: {port: 8083, redirectCode: 302}}",
     "{filters: [{type: RequestRedirect, requestRedirect: {port: 8083}}]}",
     {{GET_("/a"), "302 http://cart:8083/a"}}},
    {"RedirectToTheUsualPort",
     "{redirect: {port: 80, redirectCode: 307}}",
     "{filters: [{type: RequestRedirect, requestRedirect: {port: 80, statusCode: 307}}]}",
     {{GET_("/a"), "307 http://cart/a"}}},
    {"RedirectToAWholePath",
     "{redirect: {uri: /new, redirectCode: 308, derivePort: FROM_REQUEST_PORT}}",
     "{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 308, path: {type: ReplaceFullPath, "
     "replaceFullPath: /new}}}]}",
     {{GET_("/a/b?c=1"), "308 http://cart/new?c=1"}}},
    {"RedirectToAPrefix",
     "{match: [{uri: {prefix: /old/}}], redirect: {prefixRewrite: /new/, redirectCode: 303, derivePort: "
     "FROM_REQUEST_PORT}}",
     "{matches: [{path: {value: /old}}], filters: [{type: RequestRedirect, requestRedirect: {statusCode: "
     "303, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]}",
     {{GET_("/old/x"), "303 http://cart/new/x"}}},
};

const BothForms kRewrites[] = {
    {"RewriteOfAPrefix",
     "{match: [{uri: {prefix: /old/}}], rewrite: {uri: /new/}, " V1 "}",
     "{matches: [{path: {value: /old}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: "
     "ReplacePrefixMatch, replacePrefixMatch: /new}}}], " B1 "}",
     {{GET_("/old/x?y=1"), "v1 /new/x?y=1"}, {GET_("/old/"), "v1 /new/"}}},
    {"RewriteOfAPrefixAlone",
     "{match: [{uri: {exact: /old}}], rewrite: {uri: /new}, " V1 "}",
     "{matches: [{path: {value: /old}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: "
     "ReplacePrefixMatch, replacePrefixMatch: /new/}}}], " B1 "}",
     {{GET_("/old"), "v1 /new"}}},
    {"RewriteOfAPrefixToNothing",
     "{match: [{uri: {prefix: /old/}}], rewrite: {uri: /}, " V1
     "}, {match: [{uri: {exact: /old}}], rewrite: {uri: /}, " V1 "}",
     "{matches: [{path: {value: /old}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: "
     "ReplacePrefixMatch, replacePrefixMatch: ''}}}], " B1 "}",
     {{GET_("/old/x"), "v1 /x"}, {GET_("/old"), "v1 /"}, {GET_("/old/"), "v1 /"}}},
    {"RewriteOfTheWholePath",
     "{match: [{uri: {regex: '.*'}}], rewrite: {uriRegexRewrite: {match: '^.*$', rewrite: /one}}, " V1 "}",
     "{filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /one}}}], " B1
     "}",
     {{GET_("/a/b"), "v1 /one"}, {GET_("/a?b=1"), "v1 /one?b=1"}}},
    {"RewriteOfTheHost",
     "{rewrite: {authority: other.example}, " V1 "}",
     "{filters: [{type: URLRewrite, urlRewrite: {hostname: other.example}}], " B1 "}",
     {{GET_("/"), "v1 host=other.example"}}},
    {"HostSetAsAHeader",
     "{headers: {request: {set: {host: other.example}}}, " V1 "}",
     "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Host, value: "
     "other.example}]}}], " B1 "}",
     {{GET_("/"), "v1 host=other.example"}}},
};

const BothForms kHeaders[] = {
    {"RequestHeaderSet",
     "{headers: {request: {set: {x-old: '2'}}}, " V1 "}",
     "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Old, value: "
     "'2'}]}}], " B1 "}",
     {{GET_("/"), "v1 >x-old=2 >x-keep=1"}}},
    {"RequestHeaderAdd",
     "{headers: {request: {add: {x-old: '2'}}}, " V1 "}",
     "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: x-old, value: "
     "'2'}]}}], " B1 "}",
     {{GET_("/"), "v1 >x-old=1 >x-keep=1 >x-old=2"}}},
    {"RequestHeaderRemove",
     "{headers: {request: {remove: [x-old]}}, " V1 "}",
     "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [X-Old]}}], " B1 "}",
     {{GET_("/"), "v1 >x-keep=1"}}},
    {"RequestHeaderAllThree",
     "{headers: {request: {set: {a: '1'}, add: {b: '2'}, remove: [x-old]}}, " V1 "}",
     "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: '1'}], add: "
     "[{name: b, value: '2'}], remove: [x-old]}}], " B1 "}",
     {{GET_("/"), "v1 >x-keep=1 >a=1 >b=2"}}},
    {"ResponseHeaderSet",
     "{headers: {response: {set: {x-old: '2'}}}, " V1 "}",
     "{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-old, value: "
     "'2'}]}}], " B1 "}",
     {{GET_("/"), "v1 <x-old=2 <x-keep=1"}}},
    {"ResponseHeaderAddAndRemove",
     "{headers: {response: {add: {n: '2'}, remove: [x-keep]}}, " V1 "}",
     "{filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: n, value: '2'}], "
     "remove: [x-keep]}}], " B1 "}",
     {{GET_("/"), "v1 <x-old=1 <n=2"}}},
    {"APercentSignIsItself",
     "{headers: {request: {set: {a: '50%%'}}}, " V1 "}",
     "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: '50%'}]}}], " B1
     "}",
     {{GET_("/"), "v1 >x-old=1 >x-keep=1 >a=50%"}}},
    {"HeadersOfOneBackend",
     "{route: [{destination: {host: v1}, weight: 1, headers: {request: {set: {b: one}}}}, {destination: "
     "{host: v2}, weight: 1}]}",
     "{backendRefs: [{name: v1, port: 80, filters: [{type: RequestHeaderModifier, requestHeaderModifier: "
     "{set: [{name: b, value: one}]}}]}, {name: v2, port: 80}]}",
     {{GET_("/"), "v1 1/2 >>x-old=1 >>x-keep=1 >>b=one, v2 1/2"}}},
    {"ResponseHeadersOfOneBackend",
     "{route: [{destination: {host: v1}, weight: 1, headers: {response: {remove: [x-old]}}}, {destination: "
     "{host: v2}, weight: 3}]}",
     "{backendRefs: [{name: v1, port: 80, filters: [{type: ResponseHeaderModifier, responseHeaderModifier: "
     "{remove: [x-old]}}]}, {name: v2, port: 80, weight: 3}]}",
     {{GET_("/"), "v1 1/4 <<x-keep=1, v2 3/4"}}},
};

const BothForms kOthers[] = {
    {"MirrorOfEverything",
     "{mirror: {host: v2}, " V1 "}",
     "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}}}], " B1 "}",
     {{GET_("/"), "v1 mirror v2 1000000"}}},
    {"MirrorOfTheOnlyBackend",
     "{mirror: {host: v2}, " V1 "}",
     "{backendRefs: [{name: v1, port: 80, filters: [{type: RequestMirror, requestMirror: {backendRef: {name: "
     "v2, "
     "port: 80}}}]}]}",
     {{GET_("/"), "v1 mirror v2 1000000"}}},
    {"MirrorOfAShare",
     "{mirror: {host: v2}, mirrorPercentage: {value: 20}, " V1 "}",
     "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}, percent: 20}}], " B1
     "}",
     {{GET_("/"), "v1 mirror v2 200000"}}},
    {"MirrorOfAFraction",
     "{mirror: {host: v2}, mirrorPercentage: {value: 0.5}, " V1 "}",
     "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}, fraction: "
     "{numerator: 5, denominator: 1000}}}], " B1 "}",
     {{GET_("/"), "v1 mirror v2 5000"}}},
    {"TwoMirrors",
     "{mirrors: [{destination: {host: v2}}, {destination: {host: v3}, percentage: {value: 10}}], " V1 "}",
     "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}}}, {type: "
     "RequestMirror, requestMirror: {backendRef: {name: v3, port: 80}, percent: 10}}], " B1 "}",
     {{GET_("/"), "v1 mirror v2 1000000 mirror v3 100000"}}},
    {"NoMirrorAtAll",
     "{mirror: {host: v2}, mirrorPercentage: {value: 0}, " V1 "}",
     "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}, percent: 0}}], " B1
     "}",
     {{GET_("/"), "v1"}}},
    {"Timeout",
     "{timeout: 1500ms, " V1 "}",
     "{timeouts: {request: 1s500ms}, " B1 "}",
     {{GET_("/"), "v1 timeout 1500"}}},
    {"NoTimeout", "{timeout: 0s, " V1 "}", "{timeouts: {request: 0s}, " B1 "}", {{GET_("/"), "v1"}}},
    {"TimeoutOfOneTry",
     "{timeout: 500ms, " V1 "}",
     "{timeouts: {request: 2s, backendRequest: 500ms}, " B1 "}",
     {{GET_("/"), "v1 timeout 500"}}},
    {"Retries",
     "{retries: {attempts: 3, retryOn: '500,503,connect-failure,refused-stream,reset', backoff: 100ms}, " V1
     "}",
     "{retry: {attempts: 3, codes: [500, 503], backoff: 100ms}, " B1 "}",
     {{GET_("/"), "v1 retries 3 try 0 wait 100 500 503"}}},
    {"RetriesOfShortTries",
     "{timeout: 2s, retries: {attempts: 2, perTryTimeout: 300ms, retryOn: '502,reset'}, " V1 "}",
     "{timeouts: {request: 2s, backendRequest: 300ms}, retry: {codes: [502]}, " B1 "}",
     {{GET_("/"), "v1 timeout 2000 retries 2 try 300 wait 25 502"}}},
    {"CorsOfOneOrigin",
     "{corsPolicy: {allowOrigins: [{exact: 'http://a.example'}], allowMethods: [GET, PUT], maxAge: 60s}, " V1
     "}",
     "{filters: [{type: CORS, cors: {allowOrigins: ['http://a.example'], allowMethods: [GET, PUT], maxAge: "
     "60}}], " B1 "}",
     {{GET_("/") "\r\nOrigin: http://a.example", "v1 cors origin=http://a.example vary=origin"},
      {GET_("/") "\r\nOrigin: http://b.example", "v1"},
      {"OPTIONS / HTTP/1.1\r\nOrigin: http://a.example\r\nAccess-Control-Request-Method: PUT",
       "v1 cors origin=http://a.example vary=origin methods=GET,PUT age=60"}}},
    {"CorsOfAWildcard",
     "{corsPolicy: {allowOrigins: [{regex: 'https://.+[.]shop[.]example'}], allowCredentials: true, "
     "exposeHeaders: [x-a], unmatchedPreflights: IGNORE}, " V1 "}",
     "{filters: [{type: CORS, cors: {allowOrigins: ['https://*.shop.example'], allowCredentials: true, "
     "exposeHeaders: [x-a]}}], " B1 "}",
     {{GET_("/") "\r\nOrigin: https://w.x.shop.example",
       "v1 cors origin=https://w.x.shop.example credentials=true vary=origin headers=x-a"},
      {GET_("/") "\r\nOrigin: https://shop.example", "v1"},
      {"OPTIONS / HTTP/1.1\r\nOrigin: https://shop.example\r\nAccess-Control-Request-Method: PUT",
       "v1 cors refused"}}},
};

class BothFormsActionsTest : public testing::TestWithParam<BothForms> {};

TEST_P(BothFormsActionsTest, DoTheSame) { expect_same(GetParam()); }

const auto kName = [](const auto& info) { return std::string(info.param.name); };
INSTANTIATE_TEST_SUITE_P(Redirects, BothFormsActionsTest, testing::ValuesIn(kRedirects), kName);
INSTANTIATE_TEST_SUITE_P(Rewrites, BothFormsActionsTest, testing::ValuesIn(kRewrites), kName);
INSTANTIATE_TEST_SUITE_P(Headers, BothFormsActionsTest, testing::ValuesIn(kHeaders), kName);
INSTANTIATE_TEST_SUITE_P(Others, BothFormsActionsTest, testing::ValuesIn(kOthers), kName);

}  // namespace
}  // namespace weft::proxy
