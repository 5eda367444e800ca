import { decodeRequests, encodeResults } from './forecast/codec.js';
import type { InferenceClient } from './inference/client.js';
import { assignProcessors, JobBytes, type JobHandler, JobProcessor, processedKind } from './processor.js';
import { type AdderJobs, jobTable } from './table.js';

/** What processors work with. */
export interface ProcessorParts {
  inference: InferenceClient;
}

@JobProcessor('forecast')
class ForecastJob implements JobHandler<AdderJobs, 'forecast'> {
  constructor(private readonly parts: ProcessorParts) {}

  process: JobHandler<AdderJobs, 'forecast'>['process'] = async ({ data, payload, deadline, priority, signal }) => {
    const results = await this.parts.inference.forecast(decodeRequests(payload ?? new Uint8Array()), {
      model: data.model,
      priority,
      signal,
      ...(deadline ? { deadline } : {}),
    });
    return new JobBytes(encodeResults(results));
  };
}

@JobProcessor('describe')
class DescribeJob implements JobHandler<AdderJobs, 'describe'> {
  constructor(private readonly parts: ProcessorParts) {}

  process: JobHandler<AdderJobs, 'describe'>['process'] = async ({ data }) => ({
    ...(await this.parts.inference.describe(data.model)),
  });
}

@JobProcessor('self-test')
class SelfTestJob implements JobHandler<AdderJobs, 'self-test'> {
  constructor(private readonly parts: ProcessorParts) {}

  process: JobHandler<AdderJobs, 'self-test'>['process'] = async () => {
    await this.parts.inference.selfTest();
    return {};
  };
}

/** The classes that process the kinds of the job table. */
const PROCESSORS = [ForecastJob, DescribeJob, SelfTestJob];

/** One processor for each kind of the table. Throws `JOB_PROCESSORS` when one is missing or there are two. */
export function createProcessors(parts: ProcessorParts) {
  return assignProcessors(
    jobTable,
    PROCESSORS.map((Type) => ({
      kind: processedKind(Type) ?? Type.name,
      name: Type.name,
      process: new Type(parts).process as never,
    })),
  );
}
