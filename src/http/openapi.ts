import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { ownPointsBody, pointsBody } from '../store/rest/schemas.js';
import { openApiSchema } from './openapi-schema.js';

/** The OpenAPI document of the application, from the zod schemas of its routes. */
export function openApiDocument(app: INestApplication): OpenAPIObject {
  const base = new DocumentBuilder()
    .setTitle('Adder')
    .setDescription('Forecasts, anomaly scores and backtests of time series. Errors are RFC 9457 problem details.')
    .setVersion('1')
    .addBearerAuth({ type: 'http', scheme: 'bearer', description: 'an API key; none is needed while none exists' })
    .addSecurityRequirements('bearer')
    .build();
  const document = SwaggerModule.createDocument(app, base, {
    operationIdFactory: (controller, method) => `${controller.replace(/Controller$/, '')}_${method}`,
  });
  // Read from other formats than JSON, too, and so not declared as parameters.
  const schemas = { Points: openApiSchema(pointsBody, 'input'), SeriesPoints: openApiSchema(ownPointsBody, 'input') };
  return {
    ...document,
    components: { ...document.components, schemas: { ...document.components?.schemas, ...schemas } },
  };
}
