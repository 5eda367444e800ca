/**
 * Large writes on their way to the device. `queue.writeBuffer` takes fresh host memory for each, which costs more than
 * the copy itself; here buffers stay, are filled while they are mapped and mapped again when the device has read them.
 */
import { flags } from './device.js';

export class Staging {
  private readonly mapped: GPUBuffer[] = [];
  private readonly all = new Set<GPUBuffer>();

  constructor(private readonly device: GPUDevice) {}

  /** Enqueues the copy of `data`, which may lie in shared memory, to `target`; both ends in whole words. */
  write(target: GPUBuffer, offset: number, data: Float32Array | Int32Array): void {
    const bytes = data.byteLength;
    // Batches come in few sizes, so there are soon enough buffers of each.
    const found = this.mapped.findIndex(({ size }) => size >= bytes && size <= 2 * bytes);
    const buffer = found >= 0 ? this.mapped.splice(found, 1)[0]! : this.create(bytes);
    new Uint8Array(buffer.getMappedRange(0, bytes)).set(new Uint8Array(data.buffer, data.byteOffset, bytes));
    buffer.unmap();
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, target, offset, bytes);
    this.device.queue.submit([encoder.finish()]);
    buffer.mapAsync(flags.GPUMapMode.WRITE).then(
      () => {
        this.mapped.push(buffer);
      },
      // The device is lost or disposed of, which whoever waits for it is told.
      () => {
        this.all.delete(buffer);
      },
    );
  }

  private create(size: number): GPUBuffer {
    const { MAP_WRITE, COPY_SRC } = flags.GPUBufferUsage;
    const buffer = this.device.createBuffer({ size, usage: MAP_WRITE | COPY_SRC, mappedAtCreation: true });
    this.all.add(buffer);
    return buffer;
  }

  dispose(): void {
    for (const buffer of this.all) buffer.destroy();
    this.all.clear();
    this.mapped.length = 0;
  }
}
