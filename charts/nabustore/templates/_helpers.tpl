{{- define "nabustore.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Of one component: list $ "admission". Two releases in one namespace do not meet. */}}
{{- define "nabustore.fullname" -}}
{{- $root := index . 0 -}}
{{- $name := include "nabustore.name" $root -}}
{{- $release := ternary $root.Release.Name (printf "%s-%s" $root.Release.Name $name) (contains $name $root.Release.Name) -}}
{{- printf "%s-%s" ($release | trunc 45 | trimSuffix "-") (index . 1) -}}
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
