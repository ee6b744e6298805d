// dot.sv - the sum of weights times what pointers lead to: a gather over the arrays of a host program, by its real pointers.
//
// For each element it loads the pointer, the weight and the value, then adds their product, modulo 2^64. The sum is stored last.
module dot (
    input  logic        clk,
    input  logic        rst,
    // job
    input  logic        start,
    input  logic [63:0] job,        // {count, pointers, weights, result} in memory
    output logic        done,
    // memory port
    output logic        mem_valid,
    output logic        mem_write,
    output logic [63:0] mem_addr,     // physical
    output logic [63:0] mem_wdata,
    input  logic [63:0] mem_rdata,    // in the cycle of the request
    // translation port
    output logic        ats_valid,
    output logic [63:0] ats_va,
    output logic        ats_write,
    input  logic        ats_ready,
    input  logic        ats_hit,
    input  logic [51:0] ats_pfn,
    // page-request port
    output logic        prq_valid,    // one cycle
    output logic [63:0] prq_va,
    output logic        prq_write,
    output logic [31:0] prq_tag,
    input  logic        prq_done,
    input  logic [31:0] prq_done_tag,
    // invalidation
    input  logic        inv_valid,
    input  logic [63:0] inv_va,
    input  logic [63:0] inv_bytes,
    output logic        inv_ack
);
    logic [63:0] va;                  // of the access that control wants
    logic        wants, writes, finish;
    mmu memory (.*);

    typedef enum logic [3:0] {IDLE, COUNT, POINTERS, WEIGHTS, POINTER, WEIGHT, VALUE, STORE, FINISHED} control_state;
    control_state state;
    logic [63:0] left, pointer_at, weight_at, target, weight, sum;

    always_comb begin
        wants     = 1;
        writes    = 0;
        va        = job;
        mem_wdata = sum;
        case (state)
            COUNT:    va = job;
            POINTERS: va = job + 8;
            WEIGHTS:  va = job + 16;
            POINTER:  begin va = pointer_at; wants = left != 0; end
            WEIGHT:   va = weight_at;
            VALUE:    va = target;
            STORE:    begin va = job + 24; writes = 1; end
            default:  wants = 0;
        endcase
    end

    assign done = state == FINISHED;

    always_ff @(posedge clk) begin
        if (rst) state <= IDLE;
        else case (state)
            IDLE:     if (start) begin sum <= 0; state <= COUNT; end
            COUNT:    if (finish) begin left <= mem_rdata; state <= POINTERS; end
            POINTERS: if (finish) begin pointer_at <= mem_rdata; state <= WEIGHTS; end
            WEIGHTS:  if (finish) begin weight_at <= mem_rdata; state <= POINTER; end
            POINTER:  if (left == 0) state <= STORE;
                      else if (finish) begin target <= mem_rdata; pointer_at <= pointer_at + 8; state <= WEIGHT; end
            WEIGHT:   if (finish) begin weight <= mem_rdata; weight_at <= weight_at + 8; state <= VALUE; end
            VALUE:    if (finish) begin sum <= sum + weight * mem_rdata; left <= left - 1; state <= POINTER; end
            STORE:    if (finish) state <= FINISHED;
            default:  ;
        endcase
    end
endmodule
