/** Something that a person can mend; one line. The command line prints it and ends with 1. */
export class Complaint extends Error {}
