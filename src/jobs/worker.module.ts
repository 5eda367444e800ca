import { type DynamicModule, Inject, Injectable, Module, type Provider, type Type } from '@nestjs/common';
import { DiscoveryModule, DiscoveryService } from '@nestjs/core';
import type { JobTable } from './define.js';
import { InferenceClient } from './inference/client.js';
import { JobsModule } from './jobs.module.js';
import { assignProcessors, type JobHandler, type Processor, processedKind } from './processor.js';
import type { JobSystemOptions } from './system.js';

/** Finds the providers that were marked with `@JobProcessor`, in whatever module they are. */
@Injectable()
export class ProcessorExplorer {
  constructor(@Inject(DiscoveryService) private readonly discovery: DiscoveryService) {}

  /** One processor for each kind of the table. Throws `JOB_PROCESSORS` when one is missing or there are two. */
  processors(table: JobTable): Map<string, Processor> {
    const found = this.discovery.getProviders().flatMap(({ metatype, instance }) => {
      const kind = processedKind(metatype);
      if (kind === undefined || !instance) return [];
      const handler = instance as JobHandler<JobTable, string>;
      const name = (metatype as { name: string }).name;
      return [{ kind, name, process: ((context) => handler.process(context as never)) as Processor<never> }];
    });
    return assignProcessors(table, found);
  }
}

/** The worker as a Nest module: jobs, inference, and the processors given, which may ask for both in their constructors. */
@Module({})
// biome-ignore lint/complexity/noStaticOnlyClass: a dynamic module is a class in Nest
export class WorkerModule {
  static forRoot<T extends JobTable>(
    jobs: JobSystemOptions<T>,
    inference: InferenceClient,
    processors: readonly Type[],
    providers: readonly Provider[] = [],
  ): DynamicModule {
    return {
      module: WorkerModule,
      imports: [DiscoveryModule, JobsModule.forRoot(jobs)],
      providers: [ProcessorExplorer, { provide: InferenceClient, useValue: inference }, ...processors, ...providers],
    };
  }
}
