{{- define "nextclick.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* labels that never change: a list of the root and a part */}}
{{- define "nextclick.selector" -}}
app.kubernetes.io/name: nextclick
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "nextclick.labels" -}}
{{ include "nextclick.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
{{- end }}

{{- define "nextclick.image" -}}
{{- $image := index . 1 -}}
{{- $tag := $image.tag | default (index . 0).Chart.AppVersion -}}
{{- if hasPrefix "@" $tag }}{{ $image.repository }}{{ $tag }}{{ else }}{{ $image.repository }}:{{ $tag }}{{ end }}
{{- end }}

{{/* what every pod has, but for its containers */}}
{{- define "nextclick.pod" -}}
{{- $root := index . 0 -}}
serviceAccountName: {{ include "nextclick.name" $root }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "nextclick.selector" . | nindent 8 }}
{{- end }}

{{/* what every container has, but for its command and resources */}}
{{- define "nextclick.container" -}}
{{- $root := index . 0 -}}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
envFrom:
  - configMapRef: {name: {{ include "nextclick.name" $root }}}
  {{- with $root.Values.secret }}
  - secretRef: {name: {{ . }}}
  {{- end }}
{{- end }}

{{- define "nextclick.mounts" -}}
{{- $root := index . 0 -}}
- {name: tmp, mountPath: /tmp}
- {name: kernels, mountPath: /kernels}
{{- if $root.Values.models.claim }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- if $root.Values.certificates }}
- {name: certificates, mountPath: /certificates, readOnly: true}
{{- end }}
{{- end }}

{{- define "nextclick.volumes" -}}
{{- $root := index . 0 -}}
- {name: tmp, emptyDir: {}}
- {name: kernels, emptyDir: {}}
{{- if $root.Values.models.claim }}
- {name: models, persistentVolumeClaim: {claimName: {{ $root.Values.models.claim }}}}
{{- end }}
{{- if $root.Values.certificates }}
- {name: certificates, secret: {secretName: {{ $root.Values.certificates }}, defaultMode: 0440}}
{{- end }}
{{- end }}

{{/* it answers once its process is up, whatever it waits for: a Redis that is away is no reason to end it */}}
{{- define "nextclick.watched" -}}
{{ include "nextclick.watchedAt" (list "metrics" 9400) }}
{{- end }}

{{/* the same on another port: its name and number */}}
{{- define "nextclick.watchedAt" -}}
{{- $name := index . 0 -}}
ports:
  - {name: {{ $name }}, containerPort: {{ index . 1 }}}
startupProbe:
  httpGet: {path: /metrics, port: {{ $name }}}
  periodSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /metrics, port: {{ $name }}}
  periodSeconds: 15
  timeoutSeconds: 5
  failureThreshold: 4
{{- end }}
