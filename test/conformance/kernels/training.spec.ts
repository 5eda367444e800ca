import { testKernels } from './kernel-tests.js';
import { trainingCases } from './training-cases.js';

testKernels(trainingCases);
