{{/* The label app.kubernetes.io/name of every object, and so the job of the metrics. */}}
{{- define "shardrive.application" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* What every object's name begins with. */}}
{{- define "shardrive.name" -}}
{{- $application := include "shardrive.application" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $application .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $application | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* What a selector goes by; never changed, as a Deployment's selector cannot be. Takes the root and the component. */}}
{{- define "shardrive.selector" -}}
app.kubernetes.io/name: {{ include "shardrive.application" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "shardrive.labels" -}}
{{ include "shardrive.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "shardrive.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "shardrive.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "shardrive.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{/* What the pods of the service, of the migration and of `helm test` have in common. */}}
{{- define "shardrive.podCommons" -}}
# The service asks DNS for others, and needs no variables about them.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The account and the init containers of the service and of the migration. */}}
{{- define "shardrive.podIdentity" -}}
serviceAccountName: {{ include "shardrive.serviceAccount" . }}
automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
{{- with .Values.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where files of secrets and of the values are. */}}
{{- define "shardrive.mounts" -}}
- name: secrets
  mountPath: /run/secrets/shardrive
  readOnly: true
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The name of shard .number's PostgreSQL cluster. */}}
{{- define "shardrive.cluster" -}}
{{ include "shardrive.name" .root }}-shard-{{ .number }}
{{- end }}

{{/* What the service speaks, in capitals as probes have it; in small letters it is the name of its port. */}}
{{- define "shardrive.scheme" -}}
{{- if .Values.tls.secretName }}HTTPS{{ else }}HTTP{{ end -}}
{{- end }}

{{- define "shardrive.port" -}}
{{- include "shardrive.scheme" . | lower -}}
{{- end }}

{{/* What every probe of the service has besides its path. */}}
{{- define "shardrive.probePort" -}}
port: {{ include "shardrive.port" . }}
scheme: {{ include "shardrive.scheme" . }}
{{- end }}

{{/* Secrets of the API besides the shards', each by the file that it is mounted as and the variable that names the file. */}}
{{- define "shardrive.secretFiles" -}}
authSecret: {file: auth-secret, variable: SHARDRIVE_AUTH_SECRET_FILE}
authCa: {file: auth-ca.pem, variable: SHARDRIVE_AUTH_CA_FILE}
otlpCa: {file: otlp-ca.pem, variable: OTEL_EXPORTER_OTLP_CERTIFICATE}
redisUrl: {file: redis-url, variable: SHARDRIVE_REDIS_URL_FILE}
redisCa: {file: redis-ca.pem, variable: SHARDRIVE_REDIS_CA_FILE}
eventsUrl: {file: events-url, variable: SHARDRIVE_EVENTS_URL_FILE}
eventsCa: {file: events-ca.pem, variable: SHARDRIVE_EVENTS_CA_FILE}
{{- end }}

{{/* The URL of the release's own cache, if it has one. */}}
{{- define "shardrive.cacheUrl" -}}
{{- if .Values.cache.enabled -}}
redis://{{ include "shardrive.name" . }}-cache:6379
{{- end -}}
{{- end }}

{{/* Where the shards' URLs come from, as files: all that a migration needs. */}}
{{- define "shardrive.volumes" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $number, $shard := .Values.shards }}
      {{- with $shard.ca }}
      - secret:
          name: {{ .name }}
          items:
            - {key: {{ .key }}, path: shard-{{ $number }}-ca.pem}
      {{- end }}
      {{- if ne $shard.join false }}
      - secret:
          {{- with $shard.existingSecret }}
          name: {{ .name }}
          items:
            - {key: {{ .key }}, path: shard-{{ $number }}-url}
          {{- else }}
          name: {{ include "shardrive.cluster" (dict "root" $ "number" $number) }}-app
          items:
            - {key: uri, path: shard-{{ $number }}-url}
          {{- end }}
      {{- with $shard.replicasSecret }}
      - secret:
          name: {{ .name }}
          items:
            - {key: {{ .key }}, path: shard-{{ $number }}-replica-urls}
      {{- end }}
      {{- end }}
      {{- end }}
{{- end }}

{{/* The same and what the API needs besides: further entries of the projected volume above. */}}
{{- define "shardrive.apiVolumes" -}}
{{ include "shardrive.volumes" . | trim }}
      {{- range $number, $shard := .Values.shards }}
      {{- if eq $shard.join false }}
      - secret:
          {{- with $shard.existingSecret }}
          name: {{ .name }}
          items:
            - {key: {{ .key }}, path: shard-{{ $number }}-spare-url}
          {{- else }}
          name: {{ include "shardrive.cluster" (dict "root" $ "number" $number) }}-app
          items:
            - {key: uri, path: shard-{{ $number }}-spare-url}
          {{- end }}
      {{- end }}
      {{- end }}
      {{- range $value, $its := include "shardrive.secretFiles" . | fromYaml }}
      {{- with index $.Values.secrets $value }}
      - secret:
          name: {{ .name }}
          items:
            - {key: {{ .key }}, path: {{ $its.file }}}
      {{- end }}
      {{- end }}
      {{- with .Values.tls.secretName }}
      - secret:
          name: {{ . }}
          items:
            - {key: tls.crt, path: tls.crt}
            - {key: tls.key, path: tls.key}
      {{- end }}
{{- end }}

{{/* The variables that name those files, and the standbys. */}}
{{- define "shardrive.env" -}}
{{- range $number, $shard := .Values.shards }}
{{- if ne $shard.join false }}
- name: SHARDRIVE_SHARD_{{ $number }}_URL_FILE
  value: /run/secrets/shardrive/shard-{{ $number }}-url
{{- if $shard.replicasSecret }}
- name: SHARDRIVE_SHARD_{{ $number }}_REPLICA_URLS_FILE
  value: /run/secrets/shardrive/shard-{{ $number }}-replica-urls
{{- end }}
{{- /* Without a user, as each takes the user and the password of the shard's own URL. */}}
{{- with $shard.readStandbys }}
{{- $cluster := include "shardrive.cluster" (dict "root" $ "number" $number) }}
{{- $urls := list }}
{{- range $serial := . }}
{{- $urls = append $urls (printf "postgres://%s-i%d:5432/drive_shard_%d" $cluster (int $serial) (int $number)) }}
{{- end }}
- name: SHARDRIVE_SHARD_{{ $number }}_REPLICA_URLS
  value: {{ join "," $urls | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The same and those of the API. */}}
{{- define "shardrive.apiEnv" -}}
{{ include "shardrive.env" . | trim }}
{{- range $number, $shard := .Values.shards }}
{{- if eq $shard.join false }}
- name: SHARDRIVE_SHARD_{{ $number }}_SPARE_URL_FILE
  value: /run/secrets/shardrive/shard-{{ $number }}-spare-url
{{- end }}
{{- end }}
{{- range $value, $its := include "shardrive.secretFiles" . | fromYaml }}
{{- if index $.Values.secrets $value }}
- name: {{ $its.variable }}
  value: /run/secrets/shardrive/{{ $its.file }}
{{- end }}
{{- end }}
{{- if .Values.tls.secretName }}
- name: SHARDRIVE_TLS_CERT_FILE
  value: /run/secrets/shardrive/tls.crt
- name: SHARDRIVE_TLS_KEY_FILE
  value: /run/secrets/shardrive/tls.key
{{- end }}
{{- end }}
