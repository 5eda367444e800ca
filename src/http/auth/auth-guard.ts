import type { CanActivate, ExecutionContext } from '@nestjs/common';
import type { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import type { Scope } from './api-keys.js';
import { callerFrom, mustHave, OPEN, SCOPE } from './caller.js';

/** Lets a request through whose caller is known (the hook in app.ts has seen to that) and has the scope of the route. */
export class AuthGuard implements CanActivate {
  constructor(private readonly reflector: Reflector) {}

  canActivate(context: ExecutionContext): boolean {
    const targets = [context.getHandler(), context.getClass()];
    if (this.reflector.getAllAndOverride<boolean | undefined>(OPEN, targets)) return true;
    const caller = callerFrom(context.switchToHttp().getRequest<FastifyRequest>());
    if (!caller) return false;
    const scope = this.reflector.getAllAndOverride<Scope | undefined>(SCOPE, targets);
    if (!scope) throw new Error(`${context.getClass().name} names no scope`);
    mustHave(caller, scope);
    return true;
  }
}
