{{/* Names, labels, and what several objects have in common. */}}

{{- define "cmbcluster.name" -}}
{{- if contains "cmbcluster" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-cmbcluster" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "cmbcluster.environments" -}}
{{- $name := .Values.environments.namespace | default (printf "%s-envs" .Release.Namespace) }}
{{- if eq $name .Release.Namespace }}{{ fail "environments.namespace must not be the release's own: whoever makes pods in a namespace can read its Secrets." }}{{ end }}
{{- $name }}
{{- end }}

{{- define "cmbcluster.labels" -}}
app.kubernetes.io/name: cmbcluster
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* (dict "root" $ "role" "web") */}}
{{- define "cmbcluster.selector" -}}
app.kubernetes.io/name: cmbcluster
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "cmbcluster.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "cmbcluster.secret" -}}
{{ .Values.secrets.existing | default (include "cmbcluster.name" .) }}
{{- end }}

{{- define "cmbcluster.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "cmbcluster.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* A size such as 50Gi as a number of bytes. */}}
{{- define "cmbcluster.bytes" -}}
{{- mul (trimSuffix "Gi" (trimSuffix "Ti" .) | int64) 1073741824 (hasSuffix "Ti" . | ternary 1024 1) }}
{{- end }}

{{/* The settings of where packages lie; `settings` has the last word. Values that an upgrade reuses may lack
some of them. */}}
{{- define "cmbcluster.packages" -}}
{{- with .Values.environments.packages }}
{{- with .access }}
CMB_KUBERNETES_PACKAGES_ACCESS: {{ . | quote }}
{{- end }}
{{- with .size }}
CMB_KUBERNETES_PACKAGES_BYTES: {{ include "cmbcluster.bytes" . | quote }}
{{- end }}
{{- with .storageClass }}
CMB_KUBERNETES_PACKAGES_CLASS: {{ . | quote }}
{{- end }}
{{- with .ownSize }}
CMB_KUBERNETES_OWN_PACKAGES_BYTES: {{ include "cmbcluster.bytes" . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* A new file of keys, as `cmbcluster admin make-keys` prints it. */}}
{{- define "cmbcluster.newKeys" -}}
{"keys": [{"kid": "{{ randAlphaNum 16 | sha256sum | trunc 8 }}", "key": "{{ printf "%x" (randBytes 32 | b64dec) }}"}]}
{{- end }}
