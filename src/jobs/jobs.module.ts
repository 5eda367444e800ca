import { BullModule, getFlowProducerToken, getQueueToken } from '@nestjs/bullmq';
import { type DynamicModule, Module } from '@nestjs/common';
import type { FlowProducer, Queue } from 'bullmq';
import { queueBackend } from './backend.js';
import { JobClient } from './client.js';
import type { JobTable } from './define.js';
import { JobSystem, type JobSystemOptions } from './system.js';

const FLOWS = 'flows';

/**
 * Jobs inside a Nest application: gives `JobSystem` and `JobClient`, and every queue of the table under Nest's own token
 * (`@InjectQueue`). Nest closes the queues at its shutdown; whoever works on them closes the JobSystem before.
 */
@Module({})
// biome-ignore lint/complexity/noStaticOnlyClass: a dynamic module is a class in Nest
export class JobsModule {
  static forRoot<T extends JobTable>(options: JobSystemOptions<T>): DynamicModule {
    const backend = queueBackend(options.connection);
    // How @nestjs/bullmq is told of another backend than Redis; one process speaks to one.
    BullModule.queueClass = backend.Queue;
    BullModule.flowProducerClass = backend.FlowProducer;
    const names = Object.keys(options.table.queues);
    return {
      module: JobsModule,
      global: true,
      imports: [
        BullModule.forRoot({ connection: backend.adding }),
        BullModule.registerQueue(...names.map((name) => ({ name }))),
        BullModule.registerFlowProducer({ name: FLOWS, forceDisconnectOnShutdown: false }),
      ],
      providers: [
        {
          provide: JobSystem,
          inject: [getFlowProducerToken(FLOWS), ...names.map((name) => getQueueToken(name))],
          useFactory: (flows: FlowProducer, ...queues: Queue[]) =>
            JobSystem.open(options, { flows, queues: new Map(names.map((name, i) => [name, queues[i]!])) }),
        },
        { provide: JobClient, inject: [JobSystem], useFactory: (system: JobSystem<T>) => system.client },
      ],
      exports: [JobSystem, JobClient, BullModule],
    };
  }
}
