import { createParamDecorator, type ExecutionContext, SetMetadata } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { Account } from '../../platform/account.js';
import type { Config } from '../../platform/config.js';
import { RequestError } from '../../platform/request-error.js';
import { type KeyInfo, LOCAL_OWNER, type Scope } from './api-keys.js';

/** Who sends a request. */
export interface Caller extends Account {
  /** Undefined while no key exists. */
  key: KeyInfo | undefined;
}

export function callerOf(key: KeyInfo | undefined, { limits }: Pick<Config, 'limits'>): Caller {
  return {
    owner: key?.owner ?? LOCAL_OWNER,
    key,
    limits: {
      // A key may narrow what is configured, never widen it.
      seriesPerRequest: Math.min(limits.seriesPerRequest, key?.limits.seriesPerRequest ?? Number.POSITIVE_INFINITY),
      pointsPerRequest: Math.min(limits.pointsPerRequest, key?.limits.pointsPerRequest ?? Number.POSITIVE_INFINITY),
      horizon: limits.horizon,
      storedSeries: limits.storedSeries,
    },
  };
}

/** Throws `FORBIDDEN` unless the caller has a scope that only some requests of a route need. */
export function mustHave({ key }: Pick<Caller, 'key'>, scope: Scope): void {
  if (!key || key.scopes.includes(scope)) return;
  throw new RequestError({
    status: 403,
    code: 'FORBIDDEN',
    message: `this key lacks the scope ${scope}`,
    fix: 'use a key that has it; an admin key creates one with POST /v1/keys',
  });
}

const CALLER = Symbol('caller');

export const rememberCaller = (request: FastifyRequest, caller: Caller): void => {
  (request as FastifyRequest & { [CALLER]?: Caller })[CALLER] = caller;
};

export const callerFrom = (request: FastifyRequest): Caller | undefined =>
  (request as FastifyRequest & { [CALLER]?: Caller })[CALLER];

/** Parameter of a handler: the Caller that the guard has let through. */
export const From = createParamDecorator((_: unknown, context: ExecutionContext): Caller => {
  const caller = callerFrom(context.switchToHttp().getRequest<FastifyRequest>());
  if (!caller) throw new Error('this route has no guard');
  return caller;
});

export const OPEN = 'adder:open';
export const SCOPE = 'adder:scope';

/** A route that needs no key: health and documentation. */
export const Open = () => SetMetadata(OPEN, true);

/** The scope that a route needs. */
export const Needs = (scope: Scope) => SetMetadata(SCOPE, scope);
