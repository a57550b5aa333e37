import { startLaptop } from '../../emulator/laptop.ts';

/** Starts what a shop starts, and has nothing more to do. */
await startLaptop({ broker: true, email: true, tables: false });
process.stdout.write('ready\n');
