import { tellMatrix } from './matrix.ts';

/** The whole story on every mixture, as `npm run matrix` runs it; takes some minutes. */
tellMatrix();
