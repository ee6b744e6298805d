// walker.sv - a breadth-first search over the structs of a host program, by their real pointers.
//
// It walks nodes and edges: one load or store of 8 bytes at a time, by virtual address, through the MMU (mmu.sv).
module walker (
    input  logic        clk,
    input  logic        rst,
    // job
    input  logic        start,
    input  logic [63:0] job,        // queue of node pointers in memory, whose first is the root
    output logic        done,
    output logic [63:0] reached,
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
    localparam logic [63:0] UNREACHED = '1;

    logic [63:0] va;                  // of the access that control wants
    logic        wants, writes, finish;
    mmu memory (.*);

    // ---- control --------------------------------------------------------------------------------
    typedef enum logic [3:0] {
        IDLE, NEXT, LEVEL, COUNT, EDGES, EDGE, TARGET, MARK, ENQUEUE, FINISHED
    } control_state;
    control_state state;
    logic [63:0] head, tail, node, level, left, edge_at, target;

    always_comb begin
        wants     = 1;
        writes    = 0;
        va        = head;
        mem_wdata = 0;
        case (state)
            NEXT:    begin va = head; wants = head != tail; end
            LEVEL:   va = node;
            COUNT:   va = node + 8;
            EDGES:   va = node + 16;
            EDGE:    begin va = edge_at; wants = left != 0; end
            TARGET:  va = target;
            MARK:    begin va = target; writes = 1; mem_wdata = level + 1; end
            ENQUEUE: begin va = tail; writes = 1; mem_wdata = target; end
            default: wants = 0;
        endcase
    end

    assign done    = state == FINISHED;
    assign reached = (tail - job) >> 3;

    always_ff @(posedge clk) begin
        if (rst) state <= IDLE;
        else case (state)
            IDLE:    if (start) begin head <= job; tail <= job + 8; state <= NEXT; end
            NEXT:    if (head == tail) state <= FINISHED;
                     else if (finish) begin node <= mem_rdata; head <= head + 8; state <= LEVEL; end
            LEVEL:   if (finish) begin level <= mem_rdata; state <= COUNT; end
            COUNT:   if (finish) begin left <= mem_rdata; state <= EDGES; end
            EDGES:   if (finish) begin edge_at <= mem_rdata; state <= EDGE; end
            EDGE:    if (left == 0) state <= NEXT;
                     else if (finish) begin
                         target <= mem_rdata; edge_at <= edge_at + 8; left <= left - 1; state <= TARGET;
                     end
            TARGET:  if (finish) state <= mem_rdata == UNREACHED ? MARK : EDGE;
            MARK:    if (finish) state <= ENQUEUE;
            ENQUEUE: if (finish) begin tail <= tail + 8; state <= EDGE; end
            default: ;
        endcase
    end
endmodule
