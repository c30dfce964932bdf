{{/* What every object's name begins with. */}}
{{- define "shardrive.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* What a selector goes by; never changed, as a Deployment's selector cannot be. Takes the root and the component. */}}
{{- define "shardrive.selector" -}}
app.kubernetes.io/name: shardrive
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "shardrive.labels" -}}
{{ include "shardrive.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
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

{{/* The security of every pod here but the user's number. */}}
{{- define "shardrive.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "shardrive.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The name of shard .number's PostgreSQL cluster. */}}
{{- define "shardrive.cluster" -}}
{{ include "shardrive.name" .root }}-shard-{{ .number }}
{{- end }}

{{/* True if a value of the settings or a Secret names a cache. */}}
{{- define "shardrive.cacheUrl" -}}
{{- if .Values.cache.enabled -}}
redis://{{ include "shardrive.name" . }}-cache:6379
{{- end -}}
{{- end }}

{{/* Where secrets come from: the shards' URLs, and what else there is, as files. */}}
{{- define "shardrive.volumes" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $number, $shard := .Values.shards }}
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
      {{- end }}
      {{- end }}
      {{- with .Values.secrets.authSecret }}
      - secret:
          name: {{ .name }}
          items:
            - {key: {{ .key }}, path: auth-secret}
      {{- end }}
      {{- with .Values.secrets.redisUrl }}
      - secret:
          name: {{ .name }}
          items:
            - {key: {{ .key }}, path: redis-url}
      {{- end }}
{{- end }}

{{/* The variables that name those files, and the standbys. */}}
{{- define "shardrive.env" -}}
{{- range $number, $shard := .Values.shards }}
{{- if ne $shard.join false }}
- name: SHARD_{{ $number }}_URL_FILE
  value: /run/secrets/shardrive/shard-{{ $number }}-url
{{- if $shard.readStandbys }}
{{- $cluster := include "shardrive.cluster" (dict "root" $ "number" $number) }}
{{- range $part := list "username" "password" }}
- name: PG_{{ $number }}_{{ upper $part }}
  valueFrom:
    secretKeyRef:
      name: {{ $cluster }}-app
      key: {{ $part }}
{{- end }}
{{- $urls := list }}
{{- range $serial := $shard.readStandbys }}
{{- $urls = append $urls (printf "postgres://$(PG_%d_USERNAME):$(PG_%d_PASSWORD)@%s-i%d:5432/drive_shard_%d" (int $number) (int $number) $cluster (int $serial) (int $number)) }}
{{- end }}
- name: SHARD_{{ $number }}_REPLICA_URLS
  value: {{ join "," $urls | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.secrets.authSecret }}
- name: AUTH_SECRET_FILE
  value: /run/secrets/shardrive/auth-secret
{{- end }}
{{- if .Values.secrets.redisUrl }}
- name: REDIS_URL_FILE
  value: /run/secrets/shardrive/redis-url
{{- end }}
{{- end }}
