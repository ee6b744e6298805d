// walker.sv - a breadth-first search over the structs of a host program, by their real pointers.
//
//   control   walks nodes and edges: one load or store of 8 bytes at a time, by virtual address
//   TLB       16 entries; a miss asks for a translation, a page that is not there is a page request, then the access is tried again
//   memory    by physical address, one cycle
//
// An invalidation ends entries at once; no access is under way in the cycle of its acknowledgement.
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
    localparam int ENTRIES = 16;
    localparam logic [63:0] UNREACHED = '1;

    // ---- TLB ------------------------------------------------------------------------------------
    logic        tlb_valid [ENTRIES];
    logic        tlb_write [ENTRIES];
    logic [51:0] tlb_vpn   [ENTRIES];
    logic [51:0] tlb_pfn   [ENTRIES];

    logic [63:0] va;                  // of the access that control wants
    logic        wants, writes;
    logic [3:0]  index;
    logic        hit;
    assign index = va[15:12];
    assign hit   = tlb_valid[index] && tlb_vpn[index] == va[63:12] && (!writes || tlb_write[index]);

    typedef enum logic [1:0] {ACCESS, TRANSLATE, REQUEST, WAIT} unit_state;
    unit_state unit;
    logic [31:0] tag;
    logic        finish;              // the access is done in this cycle
    assign finish    = wants && unit == ACCESS && hit && !inv_valid;
    assign mem_valid = finish;
    assign mem_write = writes;
    assign mem_addr  = {tlb_pfn[index], va[11:0]};
    assign ats_valid = unit == TRANSLATE && !inv_valid;
    assign ats_va    = va;
    assign ats_write = writes;
    assign prq_valid = unit == REQUEST;
    assign prq_va    = va;
    assign prq_write = writes;
    assign prq_tag   = tag;
    assign inv_ack   = inv_valid;

    always_ff @(posedge clk) begin
        if (rst) begin
            unit <= ACCESS;
            tag  <= 1;
            for (int i = 0; i < ENTRIES; i++) tlb_valid[i] <= 0;
        end else begin
            case (unit)
                ACCESS:    if (wants && !hit && !inv_valid) unit <= TRANSLATE;
                TRANSLATE: if (ats_valid && ats_ready) begin
                    unit <= ats_hit ? ACCESS : REQUEST;
                    if (ats_hit) begin
                        tlb_valid[index] <= 1;
                        tlb_write[index] <= writes;
                        tlb_vpn[index]   <= va[63:12];
                        tlb_pfn[index]   <= ats_pfn;
                    end
                end
                REQUEST:   unit <= WAIT;
                WAIT:      if (prq_done && prq_done_tag == tag) begin
                    unit <= TRANSLATE;
                    tag  <= tag + 1;
                end
            endcase
            if (inv_valid)
                for (int i = 0; i < ENTRIES; i++)
                    if ({tlb_vpn[i], 12'b0} >= inv_va && {tlb_vpn[i], 12'b0} < inv_va + inv_bytes) tlb_valid[i] <= 0;
        end
    end

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
