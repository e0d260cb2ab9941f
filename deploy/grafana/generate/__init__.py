"""The dashboards and alert rules of Temper for Grafana, as Python that is shorter than their JSON."""
