{{- define "nabustore.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Of one component: list $ "admission". Two releases in one namespace do not meet. */}}
{{- define "nabustore.fullname" -}}
{{- $root := index . 0 -}}
{{- $name := include "nabustore.name" $root -}}
{{- $release := ternary $root.Release.Name (printf "%s-%s" $root.Release.Name $name) (contains $name $root.Release.Name) -}}
{{- printf "%s-%s" ($release | trunc 43 | trimSuffix "-") (index . 1) -}}
{{- end -}}

{{- define "nabustore.selector" -}}
app.kubernetes.io/name: {{ include "nabustore.name" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "nabustore.labels" -}}
{{ include "nabustore.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end -}}

{{- define "nabustore.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "nabustore.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Whether a list of containers, by the name of the CEL variable, asks for anything that begins so. */}}
{{- define "nabustore.asksFor" -}}
{{- $prefix := index . 0 -}}
{{- $list := index . 1 -}}
{{ $list }}.exists(c, c.?resources.?limits.orValue({}).exists(name, name.startsWith('{{ $prefix }}')) || c.?resources.?requests.orValue({}).exists(name, name.startsWith('{{ $prefix }}')))
{{- end -}}

{{- define "nabustore.excludedNamespaces" -}}
{{- toJson (concat (list "kube-system" .Release.Namespace) .Values.admission.excludedNamespaces | uniq) -}}
{{- end -}}

{{/* Where the API server finds the certificate of the admission server. */}}
{{- define "nabustore.tlsSecret" -}}
{{- .Values.admission.tls.secretName | default (printf "%s-tls" (include "nabustore.fullname" (list . "admission"))) -}}
{{- end -}}

{{/* An authority and what it signs, kept while they lie in their Secret: list $ name secret dns client. As YAML of the Secret's data. */}}
{{- define "nabustore.ownCertificates" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $kept := lookup "v1" "Secret" $root.Release.Namespace (index . 2) -}}
{{- if and $kept (hasKey ($kept.data | default dict) "ca.crt") -}}
{{- toYaml $kept.data -}}
{{- else -}}
{{- /* Not the name of what it signs: OpenSSL would take that for signed by itself. */ -}}
{{- $authority := genCA (printf "%s-ca" $name) 3650 -}}
{{- $pair := genSignedCert $name nil (index . 3) 3650 $authority -}}
{{- $data := dict "ca.crt" ($authority.Cert | b64enc) "tls.crt" ($pair.Cert | b64enc) "tls.key" ($pair.Key | b64enc) -}}
{{- with index . 4 -}}
{{- $client := genSignedCert . nil nil 3650 $authority -}}
{{- $_ := set $data "client.crt" ($client.Cert | b64enc) -}}
{{- $_ := set $data "client.key" ($client.Key | b64enc) -}}
{{- end -}}
{{- toYaml $data -}}
{{- end -}}
{{- end -}}

{{- define "nabustore.serviceNames" -}}
{{- $root := index . 0 -}}
{{- toJson (list (printf "%s.%s.svc" (index . 1) $root.Release.Namespace) (printf "%s.%s.svc.cluster.local" (index . 1) $root.Release.Namespace)) -}}
{{- end -}}

{{/* Names of the extender: its Service, and localhost for `nabu explain` through a port-forward. */}}
{{- define "nabustore.extenderNames" -}}
{{- toJson (append (include "nabustore.serviceNames" (list . (include "nabustore.fullname" (list . "scheduler-extender"))) | fromJsonArray) "localhost") -}}
{{- end -}}

{{/* Schedulers that ask the extender, as a JSON list. */}}
{{- define "nabustore.askingSchedulers" -}}
{{- $own := ternary (list .Values.scheduler.name) list .Values.scheduler.enabled -}}
{{- $sent := compact (list .Values.schedulerAdmission.sendTo) -}}
{{- toJson (concat $own .Values.schedulerAdmission.schedulers $sent | uniq) -}}
{{- end -}}

{{/* What both of those who know the cluster read of it. */}}
{{- define "nabustore.knowledgeRules" -}}
- apiGroups: [""]
  resources: [nodes, pods, persistentvolumeclaims, persistentvolumes]
  verbs: [get, list, watch]
- apiGroups: [storage.k8s.io]
  resources: [storageclasses, csinodes, csistoragecapacities]
  verbs: [get, list, watch]
- apiGroups: [nabustore.io]
  resources: [localityreports]
  verbs: [get, list, watch]
- apiGroups: [resource.k8s.io]
  resources: [resourceslices, deviceclasses]
  verbs: [get, list, watch]
{{- end -}}

{{- define "nabustore.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: {{ toJson (list .) }}
  verbs: [get, update]
{{- end -}}

{{/* To make a CSIStorageCapacity of that name and to change that one alone: what others publish of capacities is not touched. */}}
{{- define "nabustore.wakeRules" -}}
- apiGroups: [storage.k8s.io]
  resources: [csistoragecapacities]
  verbs: [create]
- apiGroups: [storage.k8s.io]
  resources: [csistoragecapacities]
  resourceNames: {{ toJson (list .) }}
  verbs: [patch]
{{- end -}}

{{/* To lead a Service of that name to oneself. The last is what OpenShift asks of those who write addresses of pods. */}}
{{- define "nabustore.endpointRules" -}}
- apiGroups: [""]
  resources: [services]
  resourceNames: {{ toJson (list .) }}
  verbs: [get]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [create]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  resourceNames: {{ toJson (list .) }}
  verbs: [get, update]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices/restricted]
  verbs: [create]
{{- end -}}

{{/* An account with a ClusterRole and a Role of its own: list $ component clusterRules rules. */}}
{{- define "nabustore.account" -}}
{{- $root := index . 0 -}}
{{- $name := include "nabustore.fullname" (list $root (index . 1)) -}}
{{- $labels := include "nabustore.labels" (list $root (index . 1)) -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- $labels | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
rules: {{- index . 2 | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $name }} }
subjects:
  - { kind: ServiceAccount, name: {{ $name }}, namespace: {{ $root.Release.Namespace }} }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- $labels | nindent 4 }}
rules: {{- index . 3 | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- $labels | nindent 4 }}
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ $name }} }
subjects:
  - { kind: ServiceAccount, name: {{ $name }}, namespace: {{ $root.Release.Namespace }} }
{{- end -}}

{{/* The pod's own part of all three Deployments: list $ component values. */}}
{{- define "nabustore.controlPod" -}}
{{- $root := index . 0 -}}
{{- $values := index . 2 -}}
serviceAccountName: {{ include "nabustore.fullname" (list $root (index . 1)) }}
automountServiceAccountToken: true
# A Service of the same name would come as NABU_..._SERVICE_HOST, which no option is called.
enableServiceLinks: false
priorityClassName: system-cluster-critical
{{- include "nabustore.pullSecrets" $root }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "nabustore.selector" (list $root (index . 1)) | nindent 8 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "nabustore.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{- define "nabustore.extenderSecret" -}}
{{- .Values.schedulerExtender.tls.secretName | default (printf "%s-tls" (include "nabustore.fullname" (list . "scheduler-extender"))) -}}
{{- end -}}

{{/* The certificate that schedulers show: cert-manager keeps one pair in a Secret, so it is in one of its own. */}}
{{- define "nabustore.extenderClient" -}}
{{- if eq .Values.schedulerExtender.tls.source "cert-manager" -}}
secretName: {{ include "nabustore.fullname" (list . "scheduler-extender") }}-client-tls
items: [{ key: ca.crt, path: ca.crt }, { key: tls.crt, path: client.crt }, { key: tls.key, path: client.key }]
{{- else -}}
secretName: {{ include "nabustore.extenderSecret" . }}
items: [{ key: ca.crt, path: ca.crt }, { key: client.crt, path: client.crt }, { key: client.key, path: client.key }]
{{- end -}}
{{- end -}}

{{/* list $ component name: head of an object of cert-manager. */}}
{{- define "nabustore.certManagerHead" -}}
metadata:
  name: {{ index . 2 }}
  namespace: {{ (index . 0).Release.Namespace }}
  labels: {{- include "nabustore.labels" (list (index . 0) (index . 1)) | nindent 4 }}
{{- end -}}
