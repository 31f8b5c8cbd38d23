// generateText, streamText and embed of the Vercel AI SDK, and a call that fails.
import { createOpenAI } from "@ai-sdk/openai";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { embed, generateText, streamText } from "ai";

const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": process.env.SERVICE }),
  spanProcessors: [
    new BatchSpanProcessor(new OTLPTraceExporter({ url: `${process.env.HTTP}/v1/traces` })),
  ],
});
provider.register();
const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL });
const common = { experimental_telemetry: { isEnabled: true }, maxRetries: 0 };
const model = openai.chat("gpt-4o-mini");
await generateText({ model, prompt: "Where is my parcel?", ...common });
const streamed = streamText({ model, prompt: "Where is my parcel?", ...common });
for await (const _ of streamed.textStream);
await generateText({ model, prompt: "fail 429", ...common }).catch(() => {});
await embed({ model: openai.embedding("text-embedding-3-small"), value: "Where?", ...common });
await provider.shutdown();
