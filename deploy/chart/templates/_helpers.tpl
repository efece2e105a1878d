{{- define "portolan.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "portolan.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "portolan.labels" -}}
{{ include "portolan.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "portolan.account" -}}
{{ .Values.serviceAccount.name | default (include "portolan.name" .) }}
{{- end -}}

{{- /* The configuration, with admin where its tokens are. */ -}}
{{- define "portolan.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.admin.secret -}}
{{- $tokens := dict "read" "${file:/run/secrets/portolan-admin/read}" "change" "${file:/run/secrets/portolan-admin/change}" -}}
{{- $hosts := list -}}
{{- range until (int .Values.replicas) -}}
{{- $hosts = append $hosts (printf "%s-%d.%[1]s-pods.%[3]s.svc" (include "portolan.name" $) . $.Release.Namespace) -}}
{{- end -}}
{{- $admin := dict "listen" "0.0.0.0:8081" "allow_remote" true "hosts" $hosts "tokens" $tokens -}}
{{- $_ := set $config "admin" (mergeOverwrite $admin (get $config "admin" | default dict)) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- /* How admin is asked: https where the configuration has a certificate for it. */ -}}
{{- define "portolan.scheme" -}}
{{ if get (get .Values.config "admin" | default dict) "tls" }}https{{ else }}http{{ end }}
{{- end -}}

{{- /* Refuses values by which no pod would ever become ready. */ -}}
{{- define "portolan.probed" -}}
{{- if not .Values.admin.secret -}}
{{- if eq .Values.readyFor "istio" -}}
{{- fail "readyFor: istio is asked of admin; set admin.secret" -}}
{{- end -}}
{{- range get (get .Values.config "xds" | default dict) "listeners" | default list -}}
{{- if and (get . "tls") (hasSuffix ":16010" (get . "listen" | toString)) -}}
{{- fail "config.xds.listeners: Kubernetes cannot probe port 16010, as it speaks no TLS there; set admin.secret, so that admin is probed" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
