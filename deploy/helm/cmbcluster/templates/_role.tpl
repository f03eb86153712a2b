{{/*
The Deployment of one role and its disruption budget.
(dict "root" $ "role" "web" "database" true "keys" (list "token") "account" true "ports" (dict "http" 8201))
*/}}
{{- define "cmbcluster.role" -}}
{{- $root := .root }}
{{- $values := index $root.Values .role }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "cmbcluster.name" $root }}-{{ .role }}
  labels:
    {{- include "cmbcluster.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
spec:
  replicas: {{ $values.replicas }}
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels:
      {{- include "cmbcluster.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "cmbcluster.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .role }}
      annotations:
        checksum/settings: {{ include "cmbcluster.settings" $root | sha256sum }}
        {{- if and (eq .role "controller") $root.Values.environments.placement }}
        checksum/placement: {{ toYaml $root.Values.environments.placement | sha256sum }}
        {{- end }}
        {{- with $root.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "cmbcluster.name" $root }}-{{ .role }}
      automountServiceAccountToken: {{ .account }}
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ add $root.Values.lingerSeconds $root.Values.drainSeconds 15 }}
      securityContext:
        {{- include "cmbcluster.podSecurity" $root | nindent 8 }}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "cmbcluster.selector" . | nindent 14 }}
      containers:
        - name: {{ .role }}
          image: {{ include "cmbcluster.image" $root }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [{{ .role }}]
          envFrom:
            - configMapRef: {name: {{ include "cmbcluster.name" $root }}}
            {{- if and (eq .role "web") $root.Values.secrets.settingsFrom }}
            - secretRef: {name: {{ $root.Values.secrets.settingsFrom }}}
            {{- end }}
          env:
            - name: POD_IP
              valueFrom: {fieldRef: {fieldPath: status.podIP}}
            {{- if ne .role "web" }}
            # Nobody signs in here, so no provider's secret is needed.
            - {name: CMB_IDENTITY, value: elsewhere}
            {{- end }}
            {{- if .relay }}
            - {name: CMB_RELAY_UPSTREAM, value: "$(POD_IP):{{ .relay }}"}
            {{- end }}
            {{- if .database }}
            {{- include "cmbcluster.databaseEnv" $root | nindent 12 }}
            - name: CMB_REDIS_URL
              valueFrom: {secretKeyRef: {name: {{ include "cmbcluster.secret" $root }}, key: redis-url, optional: true}}
            {{- end }}
            {{- range .keys }}
            - {name: CMB_{{ . | upper }}_KEYS_FILE, value: /etc/cmbcluster/keys/{{ . }}-keys.json}
            {{- end }}
            {{- if and .account $root.Values.trustedCertificates }}
            - {name: SSL_CERT_FILE, value: /etc/cmbcluster/certificates/ca.crt}
            {{- end }}
            {{- if and .account $root.Values.registryAccounts }}
            - {name: CMB_REGISTRY_CREDENTIALS_FILE, value: /etc/cmbcluster/registries/config.json}
            {{- end }}
            {{- if and (eq .role "controller") $root.Values.environments.placement }}
            - {name: CMB_KUBERNETES_PLACEMENT_FILE, value: /etc/cmbcluster/placement/placement.yaml}
            {{- end }}
          ports:
            {{- range $name, $port := .ports }}
            - {name: {{ $name }}, containerPort: {{ $port }}}
            {{- end }}
            - {name: health, containerPort: 8204}
          startupProbe:
            httpGet: {path: /health/live, port: health}
            periodSeconds: 2
            failureThreshold: 60
          livenessProbe:
            httpGet: {path: /health/live, port: health}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet: {path: /health/ready, port: health}
            periodSeconds: 5
            timeoutSeconds: 7
            failureThreshold: 2
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            {{- include "cmbcluster.containerSecurity" $root | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- if .keys }}
            - {name: keys, mountPath: /etc/cmbcluster/keys, readOnly: true}
            {{- end }}
            {{- if and .account $root.Values.trustedCertificates }}
            - {name: certificates, mountPath: /etc/cmbcluster/certificates, readOnly: true}
            {{- end }}
            {{- if and .account $root.Values.registryAccounts }}
            - {name: registries, mountPath: /etc/cmbcluster/registries, readOnly: true}
            {{- end }}
            {{- if and (eq .role "controller") $root.Values.environments.placement }}
            - {name: placement, mountPath: /etc/cmbcluster/placement, readOnly: true}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 2Gi}
        {{- if .keys }}
        - name: keys
          secret:
            secretName: {{ include "cmbcluster.secret" $root }}
            defaultMode: 0440
            items:
              {{- range .keys }}
              - {key: {{ . }}-keys.json, path: {{ . }}-keys.json}
              {{- end }}
        {{- end }}
        {{- if and .account $root.Values.trustedCertificates }}
        - name: certificates
          configMap:
            name: {{ $root.Values.trustedCertificates }}
            items: [{key: ca.crt, path: ca.crt}]
        {{- end }}
        {{- if and .account $root.Values.registryAccounts }}
        - name: registries
          secret:
            secretName: {{ $root.Values.registryAccounts }}
            defaultMode: 0440
            items: [{key: .dockerconfigjson, path: config.json}]
        {{- end }}
        {{- if and (eq .role "controller") $root.Values.environments.placement }}
        - name: placement
          configMap: {name: {{ include "cmbcluster.name" $root }}-placement}
        {{- end }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "cmbcluster.name" $root }}-{{ .role }}
  labels:
    {{- include "cmbcluster.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "cmbcluster.selector" . | nindent 6 }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "cmbcluster.name" $root }}-{{ .role }}
  labels:
    {{- include "cmbcluster.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
automountServiceAccountToken: false
{{- end }}

{{- define "cmbcluster.databaseEnv" -}}
- name: CMB_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ include "cmbcluster.secret" . }}, key: database-url}}
{{- end }}

{{/* (dict "root" $ "role" "web" "port" 8201 "name" "http") */}}
{{- define "cmbcluster.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "cmbcluster.name" .root }}-{{ .role }}
  labels:
    {{- include "cmbcluster.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
spec:
  selector:
    {{- include "cmbcluster.selector" . | nindent 4 }}
  ports:
    - {name: {{ .name }}, port: {{ .port }}, targetPort: {{ .name }}}
{{- end }}

{{/* Zero is a number too, so only what is unset is filled in. */}}
{{- define "cmbcluster.hops" -}}
{{- if not (kindIs "invalid" .Values.trustedProxyHops) }}{{ .Values.trustedProxyHops }}
{{- else if eq .Values.edge.service.type "ClusterIP" }}1
{{- else }}{{ fail (printf "trustedProxyHops: with edge.service.type %s say how many proxies of yours add themselves to X-Forwarded-For; 0 when none does" .Values.edge.service.type) }}
{{- end }}
{{- end }}

{{- define "cmbcluster.settings" -}}
CMB_PUBLIC_URL: {{ required "publicUrl is the address of the dashboard, such as https://cmb.example.org" .Values.publicUrl | quote }}
CMB_TRUSTED_PROXY_HOPS: {{ include "cmbcluster.hops" . | quote }}
CMB_RUNTIME: kubernetes
CMB_INSTANCE: {{ include "cmbcluster.name" . }}
CMB_KUBERNETES_NAMESPACE: {{ include "cmbcluster.environments" . }}
CMB_WORKSPACE_IMAGE: {{ required "environments.workspaceImage is the image that Python packages run on; build it from deploy/images/workspace" .Values.environments.workspaceImage | quote }}
CMB_LOG_FORMAT: json
CMB_DATA_DIR: /tmp/cmbcluster
CMB_BIND_ADDRESS: 0.0.0.0
CMB_PORT: "8080"
CMB_WEB_BIND: 0.0.0.0:8201
CMB_GATE_BIND: 0.0.0.0:8202
CMB_RELAY_BIND: 0.0.0.0:8203
CMB_HEALTH_BIND: 0.0.0.0:8204
CMB_WEB_UPSTREAM: {{ include "cmbcluster.name" . }}-web:8201
CMB_GATE_UPSTREAM: {{ include "cmbcluster.name" . }}-gate:8202
CMB_LINGER_SECONDS: {{ .Values.lingerSeconds | quote }}
CMB_DRAIN_SECONDS: {{ .Values.drainSeconds | quote }}
{{- range $name, $value := merge dict .Values.settings (include "cmbcluster.packages" . | fromYaml) }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}
