import { testKernels } from './kernel-tests.js';
import { sequenceCases } from './sequence-cases.js';

testKernels(sequenceCases);
