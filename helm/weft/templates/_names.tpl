{{- define "weft.labels" -}}
app.kubernetes.io/name: weft
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- /* What selectors use may never change. */}}
{{- define "weft.selector" -}}
app.kubernetes.io/name: weft
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "weft.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* Where a pod may run, and as what; the same for both. */}}
{{- define "weft.placement" -}}
priorityClassName: {{ .priorityClassName | quote }}
nodeSelector:
  kubernetes.io/os: linux
  {{- with .nodeSelector }}{{ toYaml . | nindent 2 }}{{ end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* What Weft reads, as rules: control-plane/kubernetes/kinds.cc. */}}
{{- define "weft.reads" -}}
- apiGroups: [""]
  resources: [namespaces, nodes, pods, services]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [networking.istio.io]
  resources: [destinationrules, gateways, serviceentries, sidecars, virtualservices, workloadentries]
  verbs: [list, watch]
- apiGroups: [security.istio.io]
  resources: [authorizationpolicies, peerauthentications, requestauthentications]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways, grpcroutes, httproutes, referencegrants, tcproutes, tlsroutes]
  verbs: [list, watch]
# What holds for the whole mesh (MeshConfig), and no other ConfigMap.
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [istio]
  verbs: [list, watch]
{{- end }}

{{- /* The name in weft-control's certificate. */}}
{{- define "weft.controlName" -}}
weft-control.{{ .Release.Namespace }}.svc
{{- end }}

{{- /* HOST:PORT of weft-control for agents. */}}
{{- define "weft.controlAddress" -}}
{{- $ip := .Values.control.clusterIP -}}
{{- if contains ":" $ip -}}[{{ $ip }}]{{- else -}}{{ $ip | default (include "weft.controlName" .) }}{{- end -}}:15012
{{- end }}

{{- define "weft.anyAddress" -}}
{{ ternary "[::]" "0.0.0.0" .Values.control.ipv6 }}
{{- end }}
