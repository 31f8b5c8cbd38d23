"""Objectives as other monitoring systems read them: Prometheus rules, sloth's specification,
Grafana dashboards."""
