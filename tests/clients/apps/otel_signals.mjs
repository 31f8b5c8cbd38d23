// One span, one log record, a counter and a histogram, as OTLP/JSON.
import { SeverityNumber } from "@opentelemetry/api-logs";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-http";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const base = process.env.HTTP;
const compression = process.env.COMPRESSION;
const to = (signal) => ({ url: `${base}/v1/${signal}`, compression });
const resource = resourceFromAttributes({ "service.name": process.env.SERVICE });
const traces = new NodeTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter(to("traces")))],
});
traces.register();
const logExporter = new OTLPLogExporter(to("logs"));
const logs = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: logExporter })],
});
const metrics = new MeterProvider({
  resource,
  readers: [new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter(to("metrics")) })],
});

const meter = metrics.getMeter("app");
meter.createCounter("orders").add(3, { region: "eu" });
meter.createHistogram("gen_ai.client.operation.duration").record(0.25);
traces.getTracer("app").startActiveSpan("chat gpt-4o-mini", (span) => {
  span.setAttributes({
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 48,
    "gen_ai.usage.output_tokens": 30,
  });
  logs.getLogger("app").emit({
    severityNumber: SeverityNumber.WARN, severityText: "WARN", body: "asked about a parcel",
  });
  span.end();
});
for (const provider of [traces, logs, metrics]) await provider.shutdown();
