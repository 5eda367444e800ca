export * from './classification.js';
export * from './end-of-turn.js';
export * from './probability.js';
export * from './ranking.js';
export * from './spectral.js';
export * from './transitions.js';
